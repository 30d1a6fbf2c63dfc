-- Live sources: the streamers that scrape, and the state of each target.

-- Of the streamers that are alive and know a shard, one scrapes its targets: all compute which.
CREATE TABLE scraper (
    owner      text PRIMARY KEY,
    shards     text[] NOT NULL,  -- those that have a target in its configuration: job/number
    expires_at timestamptz NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE scraper IS 'The streamers that scrape; one that is not heard of for a while is dead.';

CREATE TABLE scrape_target (
    job         text NOT NULL,
    url         text NOT NULL,
    shard       text NOT NULL,           -- job/number
    labels      jsonb NOT NULL,          -- that each of its samples gets, instance and job too
    interval_s  float8 NOT NULL,
    timeout_s   float8 NOT NULL,
    owner       text NOT NULL,           -- the streamer that reported last
    scraped_at  timestamptz,             -- start of the last scrape; null: there was none yet
    duration_s  float8 NOT NULL DEFAULT 0,
    samples     integer NOT NULL DEFAULT 0,  -- stored of the last scrape
    refused     integer NOT NULL DEFAULT 0,  -- lines of the last scrape that were not stored
    error       text NOT NULL DEFAULT '',    -- why the last scrape failed; empty: the target is up
    slots_lost  bigint NOT NULL DEFAULT 0,   -- scrapes that were due and did not land, ever
    reported_at timestamptz NOT NULL DEFAULT now(),
    -- Each host may have a streamer that scrapes it at the same URL, that of the loopback address.
    instance    text NOT NULL GENERATED ALWAYS AS (labels ->> 'instance') STORED,
    PRIMARY KEY (job, url, instance)
) WITH (fillfactor = 50);
COMMENT ON TABLE scrape_target IS 'The targets of scrapes, and how the last scrape of each went.';

-- The rows of a stream of scrapes are slots of time; it has no end, and no line of it is kept.
ALTER TABLE stream_progress ADD COLUMN slots boolean NOT NULL DEFAULT false;

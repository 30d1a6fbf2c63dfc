-- The first schema: series, blocks of samples, stream leases, the message ledger, the flat view.

CREATE TABLE series (
    series_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest      bytea NOT NULL UNIQUE,  -- BLAKE2b-128 of the labels: gputel.model.series.digest
    metric_name text NOT NULL,
    gpu_id      text NOT NULL,
    device      text NOT NULL,
    uuid        text NOT NULL,
    model_name  text NOT NULL,
    hostname    text NOT NULL,
    container   text NOT NULL,
    pod         text NOT NULL,
    namespace   text NOT NULL,
    labels_raw  text NOT NULL,
    first_ts    timestamptz NOT NULL DEFAULT 'infinity'  -- time of the oldest sample landed
);
COMMENT ON TABLE series IS 'Every distinct set of labels, once.';
CREATE INDEX series_uuid ON series (uuid, metric_name);

-- Both arrays have one length and are in time order; a block never spans midnight UTC, so a day is
-- a partition and [first_ts, last_ts] lies within it.
CREATE TABLE sample_block (
    series_id bigint NOT NULL,
    first_ts  timestamptz NOT NULL,
    last_ts   timestamptz NOT NULL,
    ts        timestamptz[] NOT NULL,
    value     float8[] NOT NULL
) PARTITION BY RANGE (last_ts);
COMMENT ON TABLE sample_block IS 'The samples of one series from one commit, or merged from several.';
CREATE INDEX sample_block_series ON sample_block (series_id, last_ts);

CREATE FUNCTION ensure_sample_block_day(day date) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    partition text := 'sample_block_' || to_char(day, 'YYYYMMDD');
BEGIN
    IF to_regclass(partition) IS NOT NULL THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('gputel.sample_block'));
    -- Not to_regclass again: it may answer from a cache older than the lock.
    PERFORM FROM pg_class AS c
    JOIN pg_class AS parent ON parent.relnamespace = c.relnamespace
    WHERE c.relname = partition AND parent.oid = 'sample_block'::regclass;
    IF FOUND THEN
        RETURN;
    END IF;
    -- ATTACH, unlike CREATE ... PARTITION OF, does not shut out readers and writers of the parent.
    EXECUTE format('CREATE TABLE %I (LIKE sample_block INCLUDING STORAGE)', partition);
    EXECUTE format(
        'ALTER TABLE sample_block ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        partition, day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
END
$$;
COMMENT ON FUNCTION ensure_sample_block_day IS 'Make the partition of one UTC day, if it is missing.';

CREATE VIEW telemetry AS
SELECT sample.ts AS timestamp, s.metric_name, s.gpu_id, s.device, s.uuid, s.model_name, s.hostname,
       s.container, s.pod, s.namespace, sample.value, s.labels_raw
FROM sample_block AS b
JOIN series AS s USING (series_id)
CROSS JOIN LATERAL unnest(b.ts, b.value) AS sample (ts, value);
COMMENT ON VIEW telemetry IS 'Records as classic flat rows.';

CREATE TABLE stream_progress (
    stream_id   text PRIMARY KEY,
    next_row    bigint NOT NULL DEFAULT 0,  -- rows below it are leased or landed
    row_count   bigint,                     -- known once a one-shot stream has reached its end
    looping     boolean NOT NULL,
    fingerprint text NOT NULL,              -- of the source's content
    source      text NOT NULL,              -- the source's name, for people
    created_at  timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
COMMENT ON TABLE stream_progress IS 'How far each stream has been reserved.';

CREATE TABLE stream_lease (
    stream_id  text NOT NULL,
    first_row  bigint NOT NULL,
    row_count  integer NOT NULL,
    owner      text NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (stream_id, first_row)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
COMMENT ON TABLE stream_lease IS 'Chunks reserved and not yet landed; deleted as their rows land.';

CREATE TABLE stream_rejects (
    stream_id text NOT NULL,
    first_row bigint NOT NULL,
    rejected  integer NOT NULL,
    PRIMARY KEY (stream_id, first_row)
);
COMMENT ON TABLE stream_rejects IS 'How many rows of a landed chunk were rejected, if any were.';

CREATE TABLE message_ledger (
    message_id text PRIMARY KEY,
    landed_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE message_ledger IS 'Messages landed without a chunk lease, remembered for a window.';
CREATE INDEX message_ledger_landed_at ON message_ledger (landed_at);

-- Each GPU once, with the times of its oldest and newest sample, so that nobody has to look for them.

CREATE TABLE gpu (
    uuid      text PRIMARY KEY,
    first_ts  timestamptz NOT NULL,  -- of the oldest sample landed
    last_ts   timestamptz NOT NULL,  -- of the newest
    series_id bigint NOT NULL        -- of the newest; the largest, if several have one
) WITH (fillfactor = 50);
COMMENT ON TABLE gpu IS
    'Every GPU that has had samples: kept in the transaction that adds its blocks.';

INSERT INTO gpu (uuid, first_ts, last_ts, series_id)
SELECT DISTINCT ON (uuid)
    uuid, min(s.first_ts) OVER (PARTITION BY uuid), b.last_ts, s.series_id
FROM series AS s
CROSS JOIN LATERAL (
    SELECT last_ts FROM sample_block
    WHERE series_id = s.series_id
    ORDER BY last_ts DESC
    LIMIT 1
) AS b
WHERE s.first_ts < 'infinity'
ORDER BY uuid, b.last_ts DESC, s.series_id DESC;

ALTER TABLE series DROP COLUMN first_ts;

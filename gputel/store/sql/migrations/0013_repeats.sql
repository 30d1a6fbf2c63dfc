-- One sample for a series and instant. How many rows of each chunk were in the store already, and
-- which rollups counted an instant twice: those of hours with blocks that overlap, or with a block
-- that has an instant twice.

CREATE TABLE stream_repeats (
    stream_id text NOT NULL,
    first_row bigint NOT NULL,
    repeats   integer NOT NULL,
    PRIMARY KEY (stream_id, first_row)
);
COMMENT ON TABLE stream_repeats IS
    'How many rows of a landed chunk repeated a sample, if any did: they were not stored again.';

INSERT INTO rollup_stale (hour)
SELECT DISTINCT hour
FROM (
    SELECT *, first_ts <= lag(last_ts) OVER (
               PARTITION BY series_id, (last_ts AT TIME ZONE 'UTC')::date ORDER BY last_ts
           ) AS tangled
    FROM sample_block
) AS b
CROSS JOIN LATERAL generate_series(date_trunc('hour', b.first_ts, 'UTC'), b.last_ts, '1 hour')
    AS each (hour)
WHERE b.tangled
   OR (b.off_us IS NULL AND b.step_us = 0 AND b.samples > 1)
   OR EXISTS (SELECT FROM unnest(b.off_us, b.off_us[2:]) AS pair (off, next)
              WHERE next - off + b.step_us = 0);

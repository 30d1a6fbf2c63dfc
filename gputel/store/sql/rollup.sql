-- Rollups: made of blocks by maintenance, read by those who ask for steps.

-- name: compact
-- Several marks of one hour become one; marks made meanwhile stay.
WITH gone AS (
    DELETE FROM rollup_stale
    WHERE hour IN (SELECT hour FROM rollup_stale GROUP BY hour HAVING count(*) > 1)
    RETURNING hour, noted_at
)
INSERT INTO rollup_stale (hour, noted_at) SELECT hour, max(noted_at) FROM gone GROUP BY hour

-- name: settled
-- Stale hours by UTC day that nobody has written to for this long, newest day first.
SELECT day, array_agg(hour ORDER BY hour) AS hours
FROM (
    SELECT hour, (hour AT TIME ZONE 'UTC')::date AS day FROM rollup_stale
    GROUP BY hour HAVING max(noted_at) <= now() - $1::interval
) AS hours
GROUP BY day
ORDER BY day DESC

-- name: stale
-- Stale hours from $1 on and before $2.
SELECT DISTINCT hour FROM rollup_stale WHERE hour >= $1 AND hour < $2 ORDER BY hour

-- name: unmark
-- Of a snapshot: marks that it does not see stay.
DELETE FROM rollup_stale WHERE hour = ANY ($1::timestamptz[])

-- name: has_samples
-- Whether the samples of this UTC day are kept.
SELECT EXISTS (SELECT FROM sample_block_part WHERE day = $1)

-- name: ensure_day
SELECT ensure_rollup_day($1)

-- name: days
-- That have rollups.
SELECT day, now() AS now FROM rollup_part ORDER BY day

-- name: drop_rollup_day
SELECT drop_rollup_day($1)

-- name: blocks
-- All blocks of a day that ends at $2 with samples from $1 on and before $3, by series.
SELECT series_id, first_ts, step_us, array_send(off_us) AS off_us, array_send(value) AS value
FROM (
    SELECT series_id, first_ts, step_us, off_us, value FROM stored_block
    WHERE last_ts >= $1 AND last_ts < $2 AND first_ts < $3
    ORDER BY series_id, last_ts
    OFFSET 0
) AS sorted

-- name: clear_minutes
-- Of these hours, which lie from $2 on and before $3.
DELETE FROM rollup
WHERE step_s = 60 AND start = ANY ($1::timestamptz[]) AND start >= $2 AND start < $3

-- name: take_hours
-- The hourly rollups of a day that begins at $2, deleted as they are read.
DELETE FROM rollup
WHERE series_id = ANY ($1::bigint[]) AND step_s = 3600 AND start = $2
RETURNING series_id, start, step_s, array_send(place) AS place, array_send(min) AS min,
          array_send(max) AS max, array_send(sum) AS sum, array_send(last) AS last,
          array_send(count) AS count

-- name: rows
-- Rollups of a step of $2 seconds of the series $1, of hours or days from $3 on and before $4.
SELECT series_id, start, step_s, array_send(place) AS place, array_send(min) AS min,
       array_send(max) AS max, array_send(sum) AS sum, array_send(last) AS last,
       array_send(count) AS count
FROM rollup
WHERE series_id = ANY ($1::bigint[]) AND step_s = $2 AND start >= $3 AND start < $4

-- name: newest
-- No sample of these series, from $2 on and before $3, is newer than this; null if there are none.
-- $4 is the midnight from which on blocks hold nothing before $3, $5 the one before $2.
SELECT CASE WHEN newest IS NOT NULL THEN least(newest, $3::timestamptz - interval '1 us') END
FROM (
    SELECT greatest(max(b.last_ts), max(r.ends)) AS newest
    FROM unnest($1::bigint[]) AS wanted (series_id)
    LEFT JOIN LATERAL (
        SELECT last_ts FROM stored_block
        WHERE series_id = wanted.series_id AND last_ts >= $2 AND last_ts < $4 AND first_ts < $3
        ORDER BY last_ts DESC
        LIMIT 1
    ) AS b ON true
    LEFT JOIN LATERAL (
        SELECT start + interval '1 day' AS ends FROM rollup
        WHERE series_id = wanted.series_id AND step_s = 3600 AND start >= $5 AND start < $3
        ORDER BY start DESC
        LIMIT 1
    ) AS r ON true
) AS found

-- name: oldest
-- Likewise none is older. Blocks are found by their ends: the first of a day may not be the oldest.
SELECT CASE WHEN oldest IS NOT NULL THEN greatest(oldest, $2::timestamptz) END
FROM (
    SELECT least(min(date_trunc('day', b.last_ts, 'UTC')), min(r.start)) AS oldest
    FROM unnest($1::bigint[]) AS wanted (series_id)
    LEFT JOIN LATERAL (
        SELECT last_ts FROM stored_block
        WHERE series_id = wanted.series_id AND last_ts >= $2 AND last_ts < $4 AND first_ts < $3
        ORDER BY last_ts
        LIMIT 1
    ) AS b ON true
    LEFT JOIN LATERAL (
        SELECT start FROM rollup
        WHERE series_id = wanted.series_id AND step_s = 3600 AND start >= $5 AND start < $3
        ORDER BY start
        LIMIT 1
    ) AS r ON true
) AS found

-- name: count_samples
-- About how many samples the series $1 have from $2 on and before $3, at an even rate in each block;
-- $4 is the midnight from which on blocks hold nothing before $3. At most $5 blocks are counted.
SELECT coalesce(sum(part), 0)::bigint
FROM (
    SELECT ceil(samples * CASE
               WHEN last_ts > first_ts THEN
                   (extract(epoch FROM least(last_ts, $3) - greatest(first_ts, $2))
                    / extract(epoch FROM last_ts - first_ts))::float8
               ELSE 1
           END) AS part
    FROM stored_block
    WHERE series_id = ANY ($1::bigint[]) AND last_ts >= $2 AND last_ts < $4 AND first_ts < $3
    LIMIT $5
) AS parts

-- name: count_rows
-- How many rows ``rows`` gives.
SELECT count(*) FROM rollup
WHERE series_id = ANY ($1::bigint[]) AND step_s = $2 AND start >= $3 AND start < $4

-- Blocks of samples in order of time. Every statement finds them by the index (series_id, last_ts).

-- name: seen
-- Series ids; from when to when their GPUs were seen.
SELECT min(first_ts) AS first_ts, max(last_ts) AS last_ts
FROM gpu WHERE uuid IN (SELECT uuid FROM series WHERE series_id = ANY ($1::bigint[]))

-- name: newest_block
-- Series ids; the newest last_ts from $2 on and before $3, or null.
SELECT max(b.last_ts)
FROM unnest($1::bigint[]) AS wanted (series_id)
CROSS JOIN LATERAL (
    SELECT last_ts FROM stored_block
    WHERE series_id = wanted.series_id AND last_ts >= $2 AND last_ts < $3
    ORDER BY last_ts DESC
    LIMIT 1
) AS b

-- name: oldest_block
-- Likewise the oldest.
SELECT min(b.last_ts)
FROM unnest($1::bigint[]) AS wanted (series_id)
CROSS JOIN LATERAL (
    SELECT last_ts FROM stored_block
    WHERE series_id = wanted.series_id AND last_ts >= $2 AND last_ts < $3
    ORDER BY last_ts
    LIMIT 1
) AS b

-- name: blocks
-- Series ids; blocks with last_ts from $2 on and before $3, and first_ts up to $4, in order.
-- The arrays go out in their binary form, and only after sorting: the sort then moves no more
-- than pointers to the large ones.
SELECT series_id, first_ts, last_ts, step_us, array_send(off_us) AS off_us,
       array_send(value) AS value
FROM (
    SELECT series_id, first_ts, last_ts, step_us, off_us, value FROM stored_block
    WHERE series_id = ANY ($1::bigint[])
      AND last_ts >= $2 AND last_ts < $3 AND first_ts <= $4
    ORDER BY {order}
    OFFSET 0
) AS sorted

-- name: few_blocks
-- Series ids; blocks with samples from $2 to $3, which end before $4; at most $5 of them.
SELECT series_id, first_ts, step_us, array_send(off_us) AS off_us, array_send(value) AS value
FROM stored_block
WHERE series_id = ANY ($1::bigint[]) AND last_ts >= $2 AND last_ts < $4 AND first_ts <= $3
LIMIT $5

-- name: samples
-- How many samples such blocks have: of the series $1, with last_ts from $2 on and before $3, and
-- first_ts up to $4.
SELECT coalesce(sum(samples), 0)::bigint FROM stored_block
WHERE series_id = ANY ($1::bigint[]) AND last_ts >= $2 AND last_ts < $3 AND first_ts <= $4

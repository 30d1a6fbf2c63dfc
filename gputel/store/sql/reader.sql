-- What the reader asks. Every statement finds its blocks by the index (series_id, last_ts).

-- name: gpus
-- One row a GPU: the labels of its most recently seen series. One of which all has expired is left
-- out. What was before the oldest day kept has expired: first_ts is not raised then.
WITH kept AS (
    SELECT min(day)::timestamp AT TIME ZONE 'UTC' AS since FROM sample_block_part
)
SELECT g.uuid, s.device, s.model_name, s.hostname, s.gpu_id,
       greatest(g.first_ts, kept.since) AS first_seen, g.last_ts AS last_seen
FROM gpu AS g JOIN series AS s USING (series_id) JOIN kept ON g.last_ts >= kept.since
ORDER BY g.uuid

-- name: gpu_exists
SELECT EXISTS (SELECT FROM gpu WHERE uuid = $1)

-- name: series_of_gpu
-- uuid, metric or null, end of the range.
SELECT series_id, metric_name, gpu_id, device, uuid, model_name, hostname, container, pod,
       namespace, labels_raw
FROM series
WHERE uuid = $1 AND ($2::text IS NULL OR metric_name = $2)
  AND EXISTS (SELECT FROM gpu WHERE uuid = $1 AND first_ts <= $3)
ORDER BY metric_name, series_id

-- name: newest_block
-- Series ids; the newest last_ts from $2 on and before $3, or null.
SELECT max(b.last_ts)
FROM unnest($1::bigint[]) AS wanted (series_id)
CROSS JOIN LATERAL (
    SELECT last_ts FROM sample_block
    WHERE series_id = wanted.series_id AND last_ts >= $2 AND last_ts < $3
    ORDER BY last_ts DESC
    LIMIT 1
) AS b

-- name: blocks
-- Series ids; blocks with last_ts from $2 on and before $3, and first_ts up to $4, newest first.
-- The arrays go out in their binary form, and only after sorting: the sort then moves no more
-- than pointers to the large ones.
SELECT series_id, first_ts, last_ts, step_us, array_send(off_us) AS off_us,
       array_send(value) AS value
FROM (
    SELECT series_id, first_ts, last_ts, step_us, off_us, value FROM sample_block
    WHERE series_id = ANY ($1::bigint[])
      AND last_ts >= $2 AND last_ts < $3 AND first_ts <= $4
    ORDER BY last_ts DESC
    OFFSET 0
) AS sorted

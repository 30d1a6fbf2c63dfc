-- What every reader asks: which GPUs, which series.

-- name: gpus
-- One row a GPU: the labels of its most recently seen series. One of which all has expired is left
-- out. What was before the oldest day kept has expired: first_ts is not raised then.
WITH kept AS (
    SELECT min(day)::timestamp AT TIME ZONE 'UTC' AS since FROM sample_block_part
)
SELECT g.uuid, s.device, s.model_name, s.hostname, s.gpu_id,
       greatest(g.first_ts, kept.since) AS first_seen, g.last_ts AS last_seen
FROM gpu AS g JOIN series AS s USING (series_id) JOIN kept ON g.last_ts >= kept.since
WHERE g.last_ts >= $1 AND {where}
ORDER BY g.uuid

-- name: gpu_exists
SELECT EXISTS (SELECT FROM gpu WHERE uuid = $1)

-- name: series
-- Of GPUs seen from $1 to $2; at most $3 of them, or null.
SELECT s.series_id, s.metric_name, s.gpu_id, s.device, s.uuid, s.model_name, s.hostname,
       s.container, s.pod, s.namespace, s.labels_raw
FROM series AS s JOIN gpu AS g USING (uuid)
WHERE g.last_ts >= $1 AND g.first_ts <= $2 AND {where}
ORDER BY s.series_id
LIMIT $3

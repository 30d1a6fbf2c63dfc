-- The newest sample of each series.

-- name: latest
-- Of the series selected, at most $3 + 1 of them, those with a sample from $1 on, or where that is
-- null, from $2 before the newest of their GPU on: by uuid and metric. Each takes one step into the
-- index (series_id, last_ts). ``value`` is null in a row that tells only that there are too many.
WITH wanted AS (
    SELECT s.*, coalesce($1, g.last_ts - $2::interval) AS since, g.last_ts AS until,
           row_number() OVER () > $3 AS beyond
    FROM series AS s JOIN gpu AS g USING (uuid)
    WHERE g.last_ts >= coalesce($1, '-infinity') AND {where}
    LIMIT $3 + 1
)
SELECT newest.last_ts, s.metric_name, s.uuid, s.hostname, s.model_name, s.gpu_id, s.device,
       s.namespace, s.pod, s.container, newest.value, s.beyond
FROM wanted AS s
LEFT JOIN LATERAL (
    SELECT last_ts, value[samples] AS value FROM sample_block
    WHERE series_id = s.series_id AND last_ts >= s.since AND last_ts <= s.until
    ORDER BY last_ts DESC
    LIMIT 1
) AS newest ON true
WHERE newest.last_ts IS NOT NULL OR s.beyond
ORDER BY s.uuid, s.metric_name, s.series_id

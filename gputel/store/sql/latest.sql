-- The newest sample of each series.

-- name: latest
-- Of the series selected, those with a sample from $1 on, or where that is null, from $2 before the
-- newest of their GPU on: by uuid and metric. Each takes one step into the index (series_id,
-- last_ts). Where more than $3 are selected, there is one row, which says so in ``beyond``.
WITH size AS (
    SELECT count(*) > $3::bigint AS beyond
    FROM (
        SELECT FROM series AS s JOIN gpu AS g USING (uuid)
        WHERE g.last_ts >= coalesce($1::timestamptz, '-infinity') AND {where}
        LIMIT $3::bigint + 1
    ) AS counted
), wanted AS (
    SELECT s.*, coalesce($1::timestamptz, g.last_ts - $2::interval) AS since, g.last_ts AS until
    FROM series AS s JOIN gpu AS g USING (uuid)
    WHERE g.last_ts >= coalesce($1::timestamptz, '-infinity') AND {where}
    LIMIT (SELECT CASE WHEN beyond THEN 1 END FROM size)
)
SELECT newest.last_ts, s.metric_name, s.uuid, s.hostname, s.model_name, s.gpu_id, s.device,
       s.namespace, s.pod, s.container, newest.value, size.beyond
FROM size CROSS JOIN wanted AS s
LEFT JOIN LATERAL (
    SELECT last_ts, value[samples] AS value FROM sample_block
    WHERE series_id = s.series_id AND last_ts >= s.since AND last_ts <= s.until
    ORDER BY last_ts DESC
    LIMIT 1
) AS newest ON true
WHERE newest.last_ts IS NOT NULL OR size.beyond
ORDER BY s.uuid, s.metric_name, s.series_id

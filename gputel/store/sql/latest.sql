-- The newest sample of each series.

-- name: oldest
-- No series that `latest` gives is older. A GPU that has been silent for long makes this early.
SELECT coalesce($1::timestamptz, min(last_ts) - $2::interval) FROM gpu

-- name: latest
-- Of the series selected, those with a sample from $1 on, or where that is null, from $2 before the
-- newest of their GPU on, in columns and in no set order. Each takes one step into the index
-- (series_id, last_ts), of no day before $4, which Postgres then leaves out of the plan at once.
-- ``selected`` says how many were looked for, more than $3 at most by one.
SELECT count(*) AS selected,
       array_send(array_agg(s.series_id) FILTER (WHERE newest.found)) AS series_id,
       array_send(array_agg(newest.last_ts) FILTER (WHERE newest.found)) AS last_ts,
       array_send(array_agg(newest.value) FILTER (WHERE newest.found)) AS value
FROM (
    SELECT s.series_id, coalesce($1::timestamptz, g.last_ts - $2::interval) AS since,
           g.last_ts AS until
    FROM series AS s JOIN gpu AS g USING (uuid)
    WHERE g.last_ts >= coalesce($1::timestamptz, '-infinity') AND {where}
    LIMIT $3::bigint + 1
) AS s
LEFT JOIN LATERAL (
    SELECT last_ts, value[samples] AS value, true AS found FROM sample_block
    WHERE series_id = s.series_id AND last_ts >= s.since AND last_ts <= s.until
      AND last_ts >= $4::timestamptz
    ORDER BY last_ts DESC
    LIMIT 1
) AS newest ON true

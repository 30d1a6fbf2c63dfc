-- What there is.

-- name: newest_series
SELECT series_id, /* s.labels */
FROM gpu AS g JOIN series AS newest USING (series_id)
CROSS JOIN LATERAL (SELECT /* labels of the newest series, or of its GPU */) AS s
WHERE {where}

-- name: metrics
-- From the heads of blocks, whose arrays stay unread, and the newest $1 days of hourly rollups;
-- at most $2 of them.
WITH counted AS (
    SELECT series_id, sum(samples) AS samples, min(first_ts) AS first_ts, max(last_ts) AS last_ts
    FROM stored_block GROUP BY series_id
), ranged AS (
    SELECT r.series_id, min(range.low) AS low, max(range.high) AS high
    FROM rollup AS r
    CROSS JOIN LATERAL (
        SELECT min(low) AS low, max(high) AS high FROM unnest(r.min, r.max) AS each (low, high)
        WHERE low <> 'NaN'
    ) AS range
    WHERE r.step_s = 3600
      AND r.start >= (SELECT (max(day) - $1::int + 1)::timestamp AT TIME ZONE 'UTC'
                      FROM rollup_part)
    GROUP BY r.series_id
)
SELECT s.metric_name, count(*) AS series, sum(c.samples)::bigint AS samples,
       min(c.first_ts) AS first_seen, max(c.last_ts) AS last_seen, min(r.low), max(r.high)
FROM counted AS c JOIN series AS s USING (series_id) LEFT JOIN ranged AS r USING (series_id)
GROUP BY s.metric_name
ORDER BY s.metric_name COLLATE "C"
LIMIT $2

-- What every reader asks: which GPUs, which series.

-- name: gpus
-- One row for each GPU: the labels of its most recently seen series, and of those that describe a GPU
-- and are empty there, what was last seen of it. GPUs of which everything has expired are left out,
-- and so are NVSwitches, CPUs and targets. What was before the oldest day kept has expired: first_ts
-- is not raised then. At most $2 of them; once their labels have over $3 bytes together, no more
-- follow: so_far of the last one tells.
WITH kept AS (
    SELECT min(day)::timestamp AT TIME ZONE 'UTC' AS since FROM sample_block_part
), found AS (
    SELECT /* s.labels of a GPU */,
           greatest(g.first_ts, kept.since) AS first_seen, g.last_ts AS last_seen, sized.bytes,
           sum(sized.bytes) OVER (ORDER BY g.uuid ROWS UNBOUNDED PRECEDING)::bigint AS so_far
    FROM gpu AS g JOIN series AS newest USING (series_id) JOIN kept ON g.last_ts >= kept.since
    CROSS JOIN LATERAL (SELECT /* labels of the newest series, or of its GPU */) AS s
    CROSS JOIN LATERAL (
        SELECT 300 + /* bytes of s.labels of a GPU */
    ) AS sized (bytes)
    WHERE g.last_ts >= $1 AND g.uuid !~ '/* pattern of entities */' AND {where}
)
SELECT /* labels of a GPU */, first_seen, last_seen, so_far
FROM found
WHERE so_far - bytes <= $3
ORDER BY uuid
LIMIT $2

-- name: uuids_near
-- Without those of targets.
(SELECT uuid FROM gpu WHERE uuid >= $1 AND uuid NOT LIKE '/* prefix of targets */%'
 ORDER BY uuid LIMIT $2)
UNION ALL
(SELECT uuid FROM gpu WHERE uuid < $1 AND uuid NOT LIKE '/* prefix of targets */%'
 ORDER BY uuid DESC LIMIT $2)

-- name: gpu_exists
SELECT EXISTS (SELECT FROM gpu WHERE uuid = $1)

-- name: series
-- Of GPUs seen from $1 to $2; at most $3 of them. Once their labels have over $4 bytes
-- together, no more follow: so_far of the last one tells. The last condition may be one of
-- those below, which cost a step into an index a series and day.
SELECT series_id, /* labels */, so_far
FROM (
    SELECT s.*, sized.bytes, sum(sized.bytes) OVER (
               ORDER BY s.series_id ROWS UNBOUNDED PRECEDING
           )::bigint AS so_far
    FROM series AS s JOIN gpu AS g USING (uuid)
    CROSS JOIN LATERAL (
        SELECT 300 + /* bytes of s.labels */
    ) AS sized (bytes)
    WHERE g.last_ts >= $1 AND g.first_ts <= $2 AND {where} AND {sampled}
) AS found
WHERE so_far - bytes <= $4
ORDER BY series_id
LIMIT $3

-- name: has_blocks
-- Whether a series has a block with a part in the time from $1 to $2.
(SELECT true FROM stored_block AS b
 WHERE b.series_id = s.series_id AND b.last_ts >= $1 AND b.first_ts <= $2
   AND b.last_ts < date_trunc('day', $2, 'UTC') + interval '1 day'
 LIMIT 1)

-- name: has_rollups
-- Whether it has rollups of a day of that time.
(SELECT true FROM rollup AS r
 WHERE r.series_id = s.series_id AND r.step_s = 3600
   AND r.start >= date_trunc('day', $1, 'UTC') AND r.start <= $2
 LIMIT 1)

-- Series that have neither samples nor rollups, and the GPUs that have no other ones.

-- name: extent
SELECT (SELECT min(day) FROM sample_block_part) AS samples,
       (SELECT min(day) FROM rollup_part) AS rollups,
       (SELECT coalesce(max(series_id), 0) FROM series) AS newest

-- name: days
-- How many tables one look at a series goes through.
SELECT (SELECT count(*) FROM sample_block_part) + (SELECT count(*) FROM rollup_part)

-- name: candidates
-- Up to the series $1: a collector may be about to give samples to a newer one.
SELECT series_id FROM series AS s
WHERE series_id <= $1
  AND NOT EXISTS (SELECT FROM sample_block AS b WHERE b.series_id = s.series_id)
  AND NOT EXISTS (SELECT FROM series_list_member AS m JOIN sample_frame USING (list_id)
                  WHERE m.series_id = s.series_id)
  AND NOT EXISTS (SELECT FROM rollup AS r WHERE r.series_id = s.series_id)
ORDER BY series_id

-- name: keep_writers_out
-- All that add samples also mark rollups in the same transaction. Those that have done so are waited
-- for, and the others wait.
LOCK TABLE rollup_stale IN SHARE MODE

-- name: still_empty
-- Of these series, those that have nothing.
SELECT array_agg(series_id) FROM unnest($1::bigint[]) AS s (series_id)
WHERE series_id <> ALL (
    SELECT series_id FROM stored_block WHERE series_id = ANY ($1)
    UNION ALL SELECT series_id FROM rollup WHERE series_id = ANY ($1)
)

-- name: remove
-- These, which have nothing, and the lists that they are in, which have no frames then. A GPU goes
-- with its last series; one whose newest series has gone gets another.
WITH removed AS (
    DELETE FROM series AS s WHERE s.series_id = ANY ($1::bigint[])
    RETURNING s.series_id, s.uuid
), counted AS (
    UPDATE series_removal SET times = times + 1 WHERE EXISTS (SELECT FROM removed)
), lists AS (
    SELECT DISTINCT list_id FROM series_list_member
    WHERE series_id IN (SELECT series_id FROM removed)
), unlisted AS (
    DELETE FROM series_list WHERE list_id IN (SELECT list_id FROM lists)
), members AS (
    DELETE FROM series_list_member WHERE list_id IN (SELECT list_id FROM lists)
), left_over AS (
    SELECT r.uuid, max(s.series_id) AS series_id
    FROM (SELECT DISTINCT uuid FROM removed) AS r
    LEFT JOIN series AS s ON s.uuid = r.uuid AND s.series_id NOT IN (SELECT series_id FROM removed)
    GROUP BY r.uuid
), gone AS (
    DELETE FROM gpu AS g USING left_over AS l WHERE g.uuid = l.uuid AND l.series_id IS NULL
), moved AS (
    UPDATE gpu AS g SET series_id = l.series_id FROM left_over AS l
    WHERE g.uuid = l.uuid AND l.series_id IS NOT NULL
      AND g.series_id IN (SELECT series_id FROM removed)
)
SELECT count(*) FROM removed

-- Partitions and merging. A day is the time from $1 to before $2, which is midnight UTC.

-- name: try_lock
SELECT pg_try_advisory_lock(hashtext('gputel.maintenance'))

-- name: unlock
SELECT pg_advisory_unlock(hashtext('gputel.maintenance'))

-- name: parts
-- Counters are those of the statistics, which lag by seconds and start over after a crash.
SELECT part::text AS name, day, now() AS now,
       pg_stat_get_tuples_inserted(part) AS inserted, pg_stat_get_live_tuples(part) AS live
FROM sample_block_part
ORDER BY day

-- name: ensure_tomorrow
SELECT ensure_sample_block_day((now() AT TIME ZONE 'UTC')::date + 1)

-- name: drop_day
SELECT drop_sample_block_day($1)

-- name: set_retention
-- So that a hypertable loses its old days also while no collector runs.
SELECT set_sample_block_retention($1)

-- name: candidates
-- Series after $6 that have at least $5 blocks of one stream of $3 to less than $4 samples, how many
-- of them, and their samples.
SELECT series_id, sum(blocks)::bigint AS blocks, sum(samples)::bigint AS samples
FROM (
    SELECT series_id, count(*) AS blocks, sum(samples) AS samples
    FROM sample_block
    WHERE last_ts >= $1 AND last_ts < $2 AND samples >= $3 AND samples < $4 AND series_id > $6
    GROUP BY series_id, stream
    HAVING count(*) >= $5
) AS by_stream
GROUP BY series_id
ORDER BY series_id
LIMIT $7

-- name: overlapping
-- Series after $3 that have blocks which overlap in time, all their blocks, and their samples. Of
-- blocks in order of their ends, one that overlaps another overlaps the one before it.
SELECT series_id, count(*) AS blocks, sum(samples) AS samples
FROM (
    SELECT series_id, samples, first_ts <= lag(last_ts) OVER (
               PARTITION BY series_id ORDER BY last_ts
           ) AS tangled
    FROM sample_block
    WHERE last_ts >= $1 AND last_ts < $2 AND series_id > $3
) AS block
GROUP BY series_id
HAVING bool_or(tangled)
ORDER BY series_id
LIMIT $4

-- name: take
-- The blocks to merge, deleted as they are read: what comes meanwhile stays.
DELETE FROM sample_block
WHERE series_id = ANY ($5::bigint[])
  AND last_ts >= $1 AND last_ts < $2 AND samples >= $3 AND samples < $4
RETURNING series_id, stream, samples, first_ts, step_us, array_send(off_us) AS off_us,
          array_send(value) AS value

-- name: roomy
-- Whether more than half as many blocks have gone ($2) as are left, or heap and index take more
-- than twice what those could need.
SELECT 2 * $2::bigint > greatest(reltuples, 0)
    OR pg_relation_size(oid) + pg_indexes_size(oid) > 4400 * greatest(reltuples, 0) + 4194304
FROM pg_class WHERE oid = $1::text::regclass

-- name: drop_ends
-- Ends of series from before the oldest day with samples.
DELETE FROM series_end
WHERE ts < (SELECT min(day) FROM sample_block_part)::timestamp AT TIME ZONE 'UTC'

-- name: framed_days
-- The days that have frames, and how many.
SELECT (last_ts AT TIME ZONE 'UTC')::date AS day, count(*) AS frames, now() AS now
FROM sample_frame GROUP BY 1 ORDER BY 1

-- name: lists
-- Lists after $5 whose frames of the day have at least $3 samples of each series, how many frames,
-- and their samples. Of the series $4, or of all where that is null.
SELECT f.list_id, count(*) AS frames,
       sum(f.samples) * (SELECT count(*) FROM series_list_member AS m WHERE m.list_id = f.list_id)
           AS samples
FROM sample_frame AS f
WHERE f.last_ts >= $1 AND f.last_ts < $2 AND f.list_id > $5
  AND ($4::bigint[] IS NULL
       OR f.list_id IN (SELECT list_id FROM series_list_member WHERE series_id = ANY ($4)))
GROUP BY f.list_id
HAVING sum(f.samples) >= $3
ORDER BY f.list_id
LIMIT $6

-- name: take_frames
-- The frames of these lists, deleted as they are read: what comes meanwhile stays.
DELETE FROM sample_frame
WHERE list_id = ANY ($3::bigint[]) AND last_ts >= $1 AND last_ts < $2
RETURNING list_id, first_ts, step_us, samples, array_send(value) AS value

-- name: members
-- The series of these lists, in their places.
SELECT list_id, array_send(array_agg(series_id ORDER BY place)) AS series_ids
FROM series_list_member WHERE list_id = ANY ($1::bigint[]) GROUP BY list_id

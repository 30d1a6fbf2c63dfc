-- What people delete. Of a day, which begins at $1 and ends before $2, it is what lies from $3 to $4,
-- both inclusive, in blocks of the streams $5, or of any where that is null; {where} is a condition on
-- the labels of the series s.

-- name: streams
-- Those of these names, and whether a streamer reads them: it has a lease, or has reserved rows lately.
SELECT stream_id, number, slots, recorded,
       EXISTS (SELECT FROM stream_lease AS l
               WHERE l.stream_id = p.stream_id AND l.expires_at > now())
       OR ((row_count IS NULL OR next_row < row_count)
           AND coalesce(reserved_at > now() - make_interval(secs => $2), false)) AS is_read
FROM stream_progress AS p WHERE stream_id = ANY ($1::text[])
ORDER BY stream_id

-- name: hold_streams
-- How far they have been read; nobody reserves rows meanwhile.
SELECT stream_id, next_row FROM stream_progress
WHERE number = ANY ($1::integer[]) ORDER BY stream_id FOR UPDATE

-- name: forget_streams
-- And what is known of their rows: a message that comes later finds no lease, and is dropped.
WITH forgotten AS (
    DELETE FROM stream_progress WHERE number = ANY ($1::integer[]) RETURNING stream_id
), leases AS (
    DELETE FROM stream_lease WHERE stream_id IN (SELECT stream_id FROM forgotten)
), rejects AS (
    DELETE FROM stream_rejects WHERE stream_id IN (SELECT stream_id FROM forgotten)
)
DELETE FROM stream_repeats WHERE stream_id IN (SELECT stream_id FROM forgotten)

-- name: drop_leases
-- Of chunks that no streamer reads any more, before their stream is deleted.
DELETE FROM stream_lease
WHERE stream_id IN (SELECT stream_id FROM stream_progress WHERE number = ANY ($1::integer[]))

-- name: days
-- With samples or with rollups alone, oldest first, and the partition of samples.
SELECT day, p.part::text AS part
FROM sample_block_part AS p FULL JOIN rollup_part AS r USING (day)
WHERE day >= ($1::timestamptz AT TIME ZONE 'UTC')::date
  AND day <= ($2::timestamptz AT TIME ZONE 'UTC')::date
ORDER BY day

-- name: whole
-- Of blocks that lie in the range: their samples by series, and their bytes, as a row without its
-- arrays takes 72.
SELECT b.series_id, count(*) AS blocks, sum(b.samples)::bigint AS samples,
       min(b.first_ts) AS first_ts, max(b.last_ts) AS last_ts,
       sum(72 + pg_column_size(b.value) + coalesce(pg_column_size(b.off_us), 0))::bigint AS bytes
FROM stored_block AS b JOIN series AS s USING (series_id)
WHERE b.last_ts >= $1 AND b.last_ts < $2 AND b.first_ts >= $3 AND b.last_ts <= $4
  AND ($5::integer[] IS NULL OR b.stream = ANY ($5)) AND {where}
GROUP BY b.series_id

-- name: cut
-- Blocks that an end of the range may cut.
SELECT b.series_id, b.first_ts, b.step_us, array_send(b.off_us) AS off_us,
       array_send(b.value) AS value,
       72 + pg_column_size(b.value) + coalesce(pg_column_size(b.off_us), 0) AS bytes
FROM stored_block AS b JOIN series AS s USING (series_id)
WHERE b.last_ts >= $1 AND b.last_ts < $2 AND b.last_ts >= $3 AND b.first_ts <= $4
  AND (b.first_ts < $3 OR b.last_ts > $4)
  AND ($5::integer[] IS NULL OR b.stream = ANY ($5)) AND {where}

-- name: owners
SELECT count(DISTINCT uuid) AS gpus, count(DISTINCT hostname) FILTER (WHERE hostname <> '') AS hosts
FROM series WHERE series_id = ANY ($1::bigint[])

-- name: repeating_streams
-- How many other streams than these brought samples that were there already.
SELECT count(DISTINCT r.stream_id)
FROM stream_repeats AS r JOIN stream_progress AS p USING (stream_id)
WHERE p.number <> ALL ($1::integer[])

-- name: minutes
-- Of a day without samples: how many minutes of rollups lie in the range, and how many are cut by its
-- ends, by series.
SELECT r.series_id, sum(within.minutes)::bigint AS minutes, sum(within.cut)::bigint AS cut,
       min(r.start) AS first_ts, max(r.start) + interval '1 hour' - interval '1 us' AS last_ts
FROM rollup AS r JOIN series AS s USING (series_id)
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE is_whole) AS minutes, count(*) FILTER (WHERE NOT is_whole) AS cut
    FROM unnest(r.place, r.count) WITH ORDINALITY AS bucket (place, count, i)
    CROSS JOIN LATERAL (
        SELECT r.start + coalesce(place, i - 1) * interval '1 minute' AS begins
    ) AS at
    CROSS JOIN LATERAL (
        SELECT begins >= $3 AND begins + interval '1 minute' - interval '1 us' <= $4 AS is_whole
    ) AS fits
    WHERE begins + interval '1 minute' > $3 AND begins <= $4
) AS within
WHERE r.step_s = 60 AND r.start >= $1 AND r.start < $2
  AND r.start > $3::timestamptz - interval '1 hour' AND r.start <= $4 AND {where}
GROUP BY r.series_id
HAVING sum(within.minutes + within.cut) > 0

-- name: series
-- Series after $6 that have blocks to look at, and all their samples of the day; at most $7 of them.
SELECT b.series_id, count(*) AS blocks, sum(b.samples)::bigint AS samples
FROM stored_block AS b JOIN series AS s USING (series_id)
WHERE b.last_ts >= $1 AND b.last_ts < $2 AND b.series_id > $6 AND {where}
GROUP BY b.series_id
HAVING bool_or(b.last_ts >= $3 AND b.first_ts <= $4
               AND ($5::integer[] IS NULL OR b.stream = ANY ($5)))
ORDER BY b.series_id
LIMIT $7

-- name: series_of_rollups
-- Likewise of a day of which only rollups are left; $5 is null.
SELECT r.series_id, count(*) AS blocks, 60 * count(*) AS samples
FROM rollup AS r JOIN series AS s USING (series_id)
WHERE r.step_s = 60 AND r.start >= $1 AND r.start < $2
  AND r.start > $3::timestamptz - interval '1 hour' AND r.start <= $4
  AND $5::integer[] IS NULL AND r.series_id > $6 AND {where}
GROUP BY r.series_id
ORDER BY r.series_id
LIMIT $7

-- name: take
-- Blocks of the series $6 with a part in the range, deleted as they are read.
DELETE FROM sample_block
WHERE series_id = ANY ($6::bigint[]) AND last_ts >= $1 AND last_ts < $2
  AND last_ts >= $3 AND first_ts <= $4 AND ($5::integer[] IS NULL OR stream = ANY ($5))
RETURNING series_id, stream, first_ts, step_us, array_send(off_us) AS off_us,
          array_send(value) AS value

-- name: left_blocks
-- Blocks of the series $4, of a day that ends at $2, with samples from $1 on and before $3.
SELECT series_id, first_ts, step_us, array_send(off_us) AS off_us, array_send(value) AS value
FROM stored_block
WHERE series_id = ANY ($4::bigint[]) AND last_ts >= $1 AND last_ts < $2 AND first_ts < $3

-- name: has_rollups
SELECT EXISTS (SELECT FROM rollup_part WHERE day = $1)

-- name: take_minutes
-- Of the series $1 and the hours $2, which lie from $3 on and before $4, deleted as they are read.
DELETE FROM rollup
WHERE series_id = ANY ($1::bigint[]) AND step_s = 60 AND start = ANY ($2::timestamptz[])
  AND start >= $3 AND start < $4
RETURNING series_id, start, step_s, array_send(place) AS place, array_send(min) AS min,
          array_send(max) AS max, array_send(sum) AS sum, array_send(last) AS last,
          array_send(count) AS count

-- name: refresh_gpus
-- GPUs of the series $1 whose oldest or newest sample was from $2 to $3: what they have now. One that
-- has no samples keeps its times, as one of which only rollups are left does.
WITH touched AS (
    SELECT * FROM gpu
    WHERE uuid IN (SELECT uuid FROM series WHERE series_id = ANY ($1::bigint[]))
      AND (first_ts BETWEEN $2 AND $3 OR last_ts BETWEEN $2 AND $3)
), spans AS (
    SELECT s.uuid, s.series_id, oldest.first_ts, newest.last_ts
    FROM touched JOIN series AS s USING (uuid)
    CROSS JOIN LATERAL (
        SELECT last_ts FROM stored_block WHERE series_id = s.series_id
        ORDER BY last_ts DESC LIMIT 1
    ) AS newest
    CROSS JOIN LATERAL (
        SELECT last_ts FROM stored_block WHERE series_id = s.series_id ORDER BY last_ts LIMIT 1
    ) AS earliest
    CROSS JOIN LATERAL (
        SELECT min(first_ts) AS first_ts FROM stored_block
        WHERE series_id = s.series_id AND last_ts >= earliest.last_ts
          AND last_ts < date_trunc('day', earliest.last_ts, 'UTC') + interval '1 day'
    ) AS oldest
), present AS (
    SELECT uuid, min(first_ts) AS first_ts, max(last_ts) AS last_ts,
           (array_agg(series_id ORDER BY last_ts DESC, series_id DESC))[1] AS series_id
    FROM spans GROUP BY uuid
)
UPDATE gpu AS g
SET first_ts = CASE WHEN g.first_ts BETWEEN $2 AND $3 THEN p.first_ts ELSE g.first_ts END,
    last_ts = p.last_ts,
    series_id = p.series_id
FROM present AS p WHERE g.uuid = p.uuid

-- name: empty
-- Of these series, or the GPUs $2, those that have nothing left. By steps into the index: as joins,
-- these would read the heads of all blocks of the store, while collectors wait.
SELECT array_agg(series_id)
FROM series AS wanted
WHERE (series_id = ANY ($1::bigint[]) OR uuid = ANY ($2::text[]))
  AND (SELECT true FROM stored_block AS b WHERE b.series_id = wanted.series_id LIMIT 1) IS NULL
  AND (SELECT true FROM rollup AS r WHERE r.series_id = wanted.series_id LIMIT 1) IS NULL

-- name: uuids
SELECT DISTINCT uuid FROM series WHERE series_id = ANY ($1::bigint[])

-- name: forget_labels
-- Labels of these GPUs that no series of theirs has any more.
UPDATE gpu AS g
SET labels = kept.labels
FROM (
    SELECT g.uuid, coalesce(jsonb_object_agg(l.key, l.value) FILTER (WHERE l.key IS NOT NULL), '{}')
                   AS labels
    FROM gpu AS g
    LEFT JOIN LATERAL (
        SELECT key, value FROM jsonb_each_text(g.labels)
        WHERE EXISTS (SELECT FROM series AS s
                      WHERE s.uuid = g.uuid AND to_jsonb(s) ->> key = value)
    ) AS l ON true
    WHERE g.uuid = ANY ($1::text[])
    GROUP BY g.uuid
) AS kept
WHERE g.uuid = kept.uuid AND g.labels <> kept.labels

-- name: forget_ends
-- Of series that have gone.
DELETE FROM series_end AS e
WHERE NOT EXISTS (SELECT FROM series AS s WHERE s.series_id = e.series_id)

-- name: tell_deleted
-- Tell apis that samples have been deleted which their memory may have.
INSERT INTO landing (part, kind, samples, payload) VALUES (0, 'x', 0, '') ON CONFLICT DO NOTHING

-- name: forget_landings
-- Copies for live streams, which may have what was deleted: those who follow are told of a gap. No
-- writer is about to commit. What tells apis of deletions stays.
WITH gone AS (
    DELETE FROM landing WHERE kind <> 'x'
)
UPDATE landing_demand AS d
SET pruned = greatest(d.pruned, now.completed), written = pg_current_xact_id()
FROM (
    SELECT pg_snapshot_xmax(s)::text::bigint - (SELECT count(*) FROM pg_snapshot_xip(s)) AS completed
    FROM pg_current_snapshot() AS s
) AS now
WHERE d.xmin = d.written::xid

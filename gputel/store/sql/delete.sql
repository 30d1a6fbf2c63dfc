-- What people delete. Of a day, which begins at $1 and ends before $2, it is what lies from $3 to $4,
-- both inclusive, in blocks of the streams $5, or of any where that is null.

-- name: matching
-- The ids of the series s that meet the condition on labels {where}.
SELECT array_send(array_agg(series_id ORDER BY series_id)) FROM series AS s WHERE {where}

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

-- name: note_deleted
-- Of the streams with these numbers, so many samples more have been deleted.
UPDATE stream_progress AS p SET deleted_samples = p.deleted_samples + gone.samples
FROM unnest($1::integer[], $2::bigint[]) AS gone (number, samples)
WHERE p.number = gone.number

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
-- arrays takes 72. Of the series $6, or of all where that is null.
SELECT b.series_id, count(*) AS blocks, sum(b.samples)::bigint AS samples,
       min(b.first_ts) AS first_ts, max(b.last_ts) AS last_ts,
       sum(72 + pg_column_size(b.value) + coalesce(pg_column_size(b.off_us), 0))::bigint AS bytes
FROM stored_block AS b
WHERE b.last_ts >= $1 AND b.last_ts < $2 AND b.first_ts >= $3 AND b.last_ts <= $4
  AND ($5::integer[] IS NULL OR b.stream = ANY ($5))
  AND ($6::bigint[] IS NULL OR b.series_id = ANY ($6))
GROUP BY b.series_id

-- name: cut
-- Likewise blocks that an end of the range may cut.
SELECT b.series_id, b.first_ts, b.step_us, array_send(b.off_us) AS off_us,
       array_send(b.value) AS value,
       72 + pg_column_size(b.value) + coalesce(pg_column_size(b.off_us), 0) AS bytes
FROM stored_block AS b
WHERE b.last_ts >= $1 AND b.last_ts < $2 AND b.last_ts >= $3 AND b.first_ts <= $4
  AND (b.first_ts < $3 OR b.last_ts > $4)
  AND ($5::integer[] IS NULL OR b.stream = ANY ($5))
  AND ($6::bigint[] IS NULL OR b.series_id = ANY ($6))

-- name: owners
SELECT count(DISTINCT uuid) AS gpus, count(DISTINCT hostname) FILTER (WHERE hostname <> '') AS hosts
FROM series WHERE series_id = ANY ($1::bigint[])

-- name: repeating_streams
-- How many other streams than these brought samples that were there already, since these began.
SELECT count(DISTINCT r.stream_id)
FROM stream_repeats AS r JOIN stream_progress AS p USING (stream_id)
WHERE p.number <> ALL ($1::integer[])
  AND coalesce(r.noted_at >= (SELECT min(created_at) FROM stream_progress
                              WHERE number = ANY ($1)), true)

-- name: minutes
-- Of a day without samples: how many minutes of rollups lie in the range, and how many are cut by its
-- ends, by series. Of the series $6, or of all where that is null; $5 is null.
SELECT r.series_id, sum(within.minutes)::bigint AS minutes, sum(within.cut)::bigint AS cut,
       min(r.start) AS first_ts, max(r.start) + interval '1 hour' - interval '1 us' AS last_ts
FROM rollup AS r
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
  AND r.start > $3::timestamptz - interval '1 hour' AND r.start <= $4
  AND $5::integer[] IS NULL AND ($6::bigint[] IS NULL OR r.series_id = ANY ($6))
GROUP BY r.series_id
HAVING sum(within.minutes + within.cut) > 0

-- name: series
-- Series after $7 that have blocks to look at, and all their samples of the day; at most $8 of them.
-- Of the series $6, or of all where that is null.
SELECT b.series_id, count(*) AS blocks, sum(b.samples)::bigint AS samples
FROM stored_block AS b
WHERE b.last_ts >= $1 AND b.last_ts < $2 AND b.series_id > $7
  AND ($6::bigint[] IS NULL OR b.series_id = ANY ($6))
GROUP BY b.series_id
HAVING bool_or(b.last_ts >= $3 AND b.first_ts <= $4
               AND ($5::integer[] IS NULL OR b.stream = ANY ($5)))
ORDER BY b.series_id
LIMIT $8

-- name: series_of_rollups
-- Likewise of a day of which only rollups are left; $5 is null.
SELECT r.series_id, count(*) AS blocks, 60 * count(*) AS samples
FROM rollup AS r
WHERE r.step_s = 60 AND r.start >= $1 AND r.start < $2
  AND r.start > $3::timestamptz - interval '1 hour' AND r.start <= $4
  AND $5::integer[] IS NULL AND ($6::bigint[] IS NULL OR r.series_id = ANY ($6))
  AND r.series_id > $7
GROUP BY r.series_id
ORDER BY r.series_id
LIMIT $8

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

-- name: stale_hours
-- How many notes each hour has. None goes while one works alone, and each commit adds its own.
SELECT hour, count(*) AS notes FROM rollup_stale GROUP BY hour

-- name: stays
-- Of the blocks of a series, those that ``take`` leaves.
NOT (is_cut AND last_ts >= $1 AND last_ts < $2 AND last_ts >= $3 AND first_ts <= $4
     AND ($5::integer[] IS NULL OR stream = ANY ($5)))

-- name: spans_left
-- Of the GPUs of the series $6 whose oldest or newest sample is of the range:
-- what they have when ``take`` has been done, and no part of what it takes stays. It is null where
-- nothing is left. The condition above is put in.
WITH touched AS (
    SELECT uuid FROM gpu
    WHERE uuid IN (SELECT uuid FROM series WHERE series_id = ANY ($6::bigint[]))
      AND (first_ts BETWEEN greatest($1, $3::timestamptz) AND least($2, $4::timestamptz)
           OR last_ts BETWEEN greatest($1, $3) AND least($2, $4))
), of_gpu AS (
    SELECT uuid, series_id, series_id = ANY ($6) AS is_cut FROM series JOIN touched USING (uuid)
), lists AS (
    SELECT list_id, min(f.first_ts) AS first_ts, max(f.last_ts) AS last_ts
    FROM (SELECT DISTINCT list_id FROM series_list_member JOIN of_gpu USING (series_id)) AS list
    JOIN sample_frame AS f USING (list_id)
    GROUP BY list_id
), spans AS (
    SELECT s.uuid, s.series_id, oldest.first_ts, newest.last_ts
    FROM of_gpu AS s
    CROSS JOIN LATERAL (
        SELECT last_ts FROM sample_block
        WHERE series_id = s.series_id AND {stays}
        ORDER BY last_ts DESC LIMIT 1
    ) AS newest
    CROSS JOIN LATERAL (
        SELECT last_ts FROM sample_block
        WHERE series_id = s.series_id AND {stays}
        ORDER BY last_ts LIMIT 1
    ) AS earliest
    CROSS JOIN LATERAL (
        SELECT min(first_ts) AS first_ts FROM sample_block
        WHERE series_id = s.series_id AND last_ts >= earliest.last_ts
          AND last_ts < date_trunc('day', earliest.last_ts, 'UTC') + interval '1 day'
          AND {stays}
    ) AS oldest
    UNION ALL
    SELECT s.uuid, s.series_id, lists.first_ts, lists.last_ts
    FROM of_gpu AS s JOIN series_list_member USING (series_id) JOIN lists USING (list_id)
)
SELECT uuid, min(first_ts) AS first_ts, max(last_ts) AS last_ts,
       (array_agg(series_id ORDER BY last_ts DESC, series_id DESC))[1] AS series_id
FROM touched LEFT JOIN spans USING (uuid) GROUP BY uuid

-- name: refresh_gpus
-- The GPUs $1 whose oldest or newest sample was from $5 to $6: what is left of them. It was looked for
-- before ($2 to $4); more may have landed in the hours $7 since, and parts of blocks stay, of the
-- series $8 ($9, $10). A GPU that has no samples keeps its times, as one of which only rollups are
-- left does.
WITH spans AS (
    SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::bigint[])
        AS looked (uuid, first_ts, last_ts, series_id)
    UNION ALL
    SELECT s.uuid, part.first_ts, part.last_ts, series_id
    FROM unnest($8::bigint[], $9::timestamptz[], $10::timestamptz[])
        AS part (series_id, first_ts, last_ts)
    JOIN series AS s USING (series_id)
    UNION ALL
    SELECT s.uuid, b.first_ts, b.last_ts, s.series_id
    FROM unnest($7::timestamptz[]) AS late (hour)
    CROSS JOIN (SELECT uuid, series_id FROM series WHERE uuid = ANY ($1)) AS s
    CROSS JOIN LATERAL (
        SELECT first_ts, last_ts FROM stored_block
        WHERE series_id = s.series_id AND first_ts < late.hour + interval '1 hour'
          AND last_ts >= late.hour
          AND last_ts < date_trunc('day', late.hour, 'UTC') + interval '1 day'
    ) AS b
), present AS (
    SELECT uuid, min(first_ts) AS first_ts, max(last_ts) AS last_ts,
           (array_agg(series_id ORDER BY last_ts DESC, series_id DESC))[1] AS series_id
    FROM spans WHERE last_ts IS NOT NULL GROUP BY uuid
)
UPDATE gpu AS g
SET first_ts = CASE WHEN g.first_ts BETWEEN $5 AND $6 THEN p.first_ts ELSE g.first_ts END,
    last_ts = CASE WHEN g.last_ts BETWEEN $5 AND $6 THEN p.last_ts ELSE g.last_ts END,
    series_id = CASE WHEN g.last_ts BETWEEN $5 AND $6 THEN p.series_id ELSE g.series_id END
FROM present AS p
WHERE g.uuid = p.uuid AND g.uuid = ANY ($1)
  AND (g.first_ts BETWEEN $5 AND $6 OR g.last_ts BETWEEN $5 AND $6)

-- name: emptied
-- Of all series of the GPUs of the series $6, with their GPUs: those that have nothing when ``take`` has
-- been done, but perhaps parts of what it takes, and rollups of that day. The condition above is put
-- in. The newest day is looked at first, as one that is left is most likely to be there.
WITH of_gpu AS (
    SELECT uuid, series_id, series_id = ANY ($6::bigint[]) AS is_cut FROM series
    WHERE uuid IN (SELECT uuid FROM series WHERE series_id = ANY ($6))
)
SELECT series_id, uuid FROM of_gpu AS s
WHERE (
    SELECT true FROM sample_block WHERE series_id = s.series_id AND {stays}
    ORDER BY last_ts DESC LIMIT 1
) IS NULL AND (
    SELECT true FROM series_list_member JOIN sample_frame USING (list_id)
    WHERE series_id = s.series_id LIMIT 1
) IS NULL AND (
    SELECT true FROM rollup
    WHERE series_id = s.series_id AND step_s = 3600 AND NOT (is_cut AND start >= $1 AND start < $2)
    ORDER BY start DESC LIMIT 1
) IS NULL

-- name: filled
-- Of the series $1, those that have anything of the day from $2 to before $3, or samples of the
-- hours $4.
SELECT series_id FROM stored_block
WHERE series_id = ANY ($1::bigint[]) AND last_ts >= $2 AND last_ts < $3
UNION
SELECT series_id FROM rollup WHERE series_id = ANY ($1) AND start >= $2 AND start < $3
UNION
SELECT s.series_id
FROM unnest($4::timestamptz[]) AS late (hour) CROSS JOIN unnest($1) AS s (series_id)
CROSS JOIN LATERAL (
    SELECT FROM stored_block
    WHERE series_id = s.series_id AND first_ts < late.hour + interval '1 hour'
      AND last_ts >= late.hour
      AND last_ts < date_trunc('day', late.hour, 'UTC') + interval '1 day'
    LIMIT 1
) AS b

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

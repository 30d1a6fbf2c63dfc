-- What lands: claims, series, samples.

-- name: claim_leases
-- Delete the leases of these chunks; a chunk whose lease is gone has landed before. Locked in
-- order, so that collectors with the same messages never deadlock. With the number that blocks of the
-- stream get.
WITH wanted AS (
    SELECT * FROM unnest($1::text[], $2::bigint[]) AS w (stream_id, first_row)
), held AS (
    SELECT l.stream_id, l.first_row FROM stream_lease AS l JOIN wanted USING (stream_id, first_row)
    ORDER BY 1, 2 FOR UPDATE OF l
)
DELETE FROM stream_lease AS l USING held
WHERE l.stream_id = held.stream_id AND l.first_row = held.first_row
RETURNING l.stream_id, l.first_row,
          coalesce((SELECT number FROM stream_progress AS p
                    WHERE p.stream_id = l.stream_id AND NOT p.slots), 0) AS number

-- name: note_rejects
-- Not of streams of slots, which have no end.
INSERT INTO stream_rejects (stream_id, first_row, rejected, skipped)
SELECT c.* FROM unnest($1::text[], $2::bigint[], $3::integer[], $4::integer[]) AS c (stream_id)
JOIN stream_progress AS p USING (stream_id) WHERE NOT p.slots

-- name: claim_ledger
-- Note the ids of messages that no streamer leased; those noted before are not returned.
INSERT INTO message_ledger (message_id)
SELECT id FROM unnest($1::text[]) AS id ORDER BY id
ON CONFLICT DO NOTHING
RETURNING message_id

-- name: prune_ledger
-- And the keys of pushes, which name messages.
WITH pruned AS (
    DELETE FROM push_key WHERE pushed_at < now() - make_interval(secs => $1)
)
DELETE FROM message_ledger WHERE landed_at < now() - make_interval(secs => $1)

-- name: find_series
SELECT digest, series_id FROM series WHERE digest = ANY ($1::bytea[])

-- name: add_series
INSERT INTO series (digest, /* labels of a record */)
SELECT * FROM unnest($1::bytea[], /* arrays of labels from $2 */) AS s (digest)
ORDER BY s.digest
ON CONFLICT (digest) DO NOTHING
RETURNING digest, series_id

-- name: seen_gpus
-- Of these GPUs, by their place from 0, those that were seen in this time, and from when to when.
SELECT place - 1 AS place, g.first_ts, g.last_ts
FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[])
    WITH ORDINALITY AS wanted (uuid, first_ts, last_ts, place)
JOIN gpu AS g USING (uuid)
WHERE g.last_ts >= wanted.first_ts AND g.first_ts <= wanted.last_ts

-- name: note_repeats
-- As above.
INSERT INTO stream_repeats (stream_id, first_row, repeats)
SELECT c.* FROM unnest($1::text[], $2::bigint[], $3::integer[]) AS c (stream_id)
JOIN stream_progress AS p USING (stream_id) WHERE NOT p.slots

-- name: note_gpus
-- Older or newer samples of these GPUs than any before have come, perhaps, or labels that were not
-- known: $4 has the series of the newest sample, $5 the one that tells most of the GPU. Locked in
-- order, as above.
INSERT INTO gpu AS g (uuid, first_ts, last_ts, series_id, labels)
SELECT seen.uuid, first_ts, last_ts, seen.series_id,
       /* fullest.labels of a GPU as jsonb */ || /* s.labels of a GPU as jsonb */
FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::bigint[], $5::bigint[])
    AS seen (uuid, first_ts, last_ts, series_id, fullest_id)
JOIN series AS s USING (series_id)
LEFT JOIN series AS fullest ON fullest.series_id = nullif(seen.fullest_id, seen.series_id)
ORDER BY seen.uuid
ON CONFLICT (uuid) DO UPDATE
SET first_ts = least(g.first_ts, excluded.first_ts),
    last_ts = greatest(g.last_ts, excluded.last_ts),
    series_id = CASE WHEN (excluded.last_ts, excluded.series_id) > (g.last_ts, g.series_id)
                     THEN excluded.series_id ELSE g.series_id END,
    labels = CASE WHEN (excluded.last_ts, excluded.series_id) > (g.last_ts, g.series_id)
                  THEN g.labels || excluded.labels ELSE excluded.labels || g.labels END
WHERE excluded.first_ts < g.first_ts
   OR (excluded.last_ts, excluded.series_id) > (g.last_ts, g.series_id)
   OR NOT g.labels ?& array(SELECT jsonb_object_keys(excluded.labels))

-- name: note_ends
-- These series have ended at these times.
WITH ended AS (
    SELECT ts, series_id FROM unnest($1::timestamptz[], $2::bigint[]) AS e (ts, series_id)
), noted AS (
    INSERT INTO series_end (ts, series_id) SELECT ts, series_id FROM ended ORDER BY ts, series_id
    ON CONFLICT DO NOTHING
), newest AS (
    SELECT series_id, max(ts) AS ts FROM ended GROUP BY series_id
), locked AS (
    SELECT s.series_id FROM series AS s JOIN newest USING (series_id)
    WHERE s.ended_at IS NULL OR s.ended_at < newest.ts
    ORDER BY s.series_id FOR UPDATE OF s
)
UPDATE series AS s SET ended_at = newest.ts
FROM newest JOIN locked USING (series_id) WHERE s.series_id = newest.series_id

-- name: add_lists
-- Lists of series by their digests, which are in order: the member $3[i] of all lists is in the list
-- of digest number $2[i], counted from 1, in the place $4[i]. Lists that are there stay. None is added
-- of a series that is in $5 lists: readers look at each list of a series.
WITH member AS (
    SELECT * FROM unnest($2::integer[], $3::bigint[], $4::integer[]) AS m (number, series_id, place)
), full_lists AS (
    SELECT number FROM member
    WHERE (SELECT count(*) FROM series_list_member AS m WHERE m.series_id = member.series_id) >= $5
), wanted AS (
    SELECT * FROM unnest($1::bytea[]) WITH ORDINALITY AS w (digest, number)
    WHERE number NOT IN (SELECT number FROM full_lists)
), added AS (
    INSERT INTO series_list (digest) SELECT digest FROM wanted ORDER BY number
    ON CONFLICT DO NOTHING
    RETURNING list_id, digest
)
INSERT INTO series_list_member (series_id, list_id, place)
SELECT member.series_id, added.list_id, member.place
FROM member JOIN wanted USING (number) JOIN added USING (digest)

-- name: find_lists
SELECT digest, list_id FROM series_list WHERE digest = ANY ($1::bytea[])

-- name: analyze_lists
-- A planner without statistics takes a list for a large part of all members.
ANALYZE series_list_member

-- name: keeps_frames
-- A hypertable knows only the days of its own blocks, so frames would not be found there.
SELECT relkind = 'p' FROM pg_class WHERE oid = 'sample_block'::regclass

-- name: removals
SELECT times FROM series_removal

-- name: mark_rollups
-- Hours whose rollups have to be made anew. And whether what lands shall be kept for live streams, and
-- from which time on for the memory of apis; this has to be asked once the transaction has its id. A
-- demand from a dump is none.
-- And how often series have been removed: from here on none is, as this waits for who removes some,
-- and who removes some waits for this transaction.
WITH marked AS (
    INSERT INTO rollup_stale (hour) SELECT unnest($1::timestamptz[])
)
SELECT EXISTS (
           SELECT FROM landing_demand
           WHERE follower = 'stream' AND until > now() AND xmin = written::xid
       ) AS followed,
       (SELECT now() - span FROM landing_demand
        WHERE follower = 'head' AND until > now() AND xmin = written::xid) AS recent_from,
       (SELECT times FROM series_removal) AS removals

-- name: hold_removals
-- Who removes series waits for this transaction; other commits do not.
LOCK TABLE rollup_stale IN ROW EXCLUSIVE MODE

-- name: ensure_day
SELECT ensure_sample_block_day($1::date)

-- name: detached_days
-- Those of the days whose table is there, but is no partition of the samples.
SELECT wanted.day
FROM unnest($1::date[]) AS wanted (day)
JOIN pg_class AS day_table ON day_table.relname = 'sample_block_' || to_char(wanted.day, 'YYYYMMDD')
WHERE day_table.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'sample_block'::regclass)
  AND NOT day_table.relispartition

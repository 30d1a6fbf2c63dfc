-- What landed lately, for those who follow it. Transactions and snapshots are given as text.

-- name: add
INSERT INTO landing (part, kind, samples, payload)
SELECT * FROM unnest($1::integer[], $2::text[]::"char"[], $3::integer[], $4::bytea[])

-- name: drop_restored
-- What a dump brought from another server, where transactions have other ids, or from another time:
-- a demand of one's own was written by the transaction that it names.
WITH restored AS (
    DELETE FROM landing_demand WHERE xmin <> written::xid RETURNING true
), horizons AS (
    DELETE FROM landing_horizon WHERE EXISTS (SELECT FROM restored)
)
DELETE FROM landing WHERE EXISTS (SELECT FROM restored)

-- name: demand
-- Have writers keep for follower $1 what they land, for $2 from now on at least, of the span $4 before
-- now or all if that is null. An epoch is the time in which they do so without a break. It is over a
-- little early, as a writer may be looking just now.
INSERT INTO landing_demand AS d (follower, epoch, until, keep, keep_bytes, span)
VALUES ($1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint, now() + $2::interval, $2, $3, $4)
ON CONFLICT (follower) DO UPDATE
SET epoch = CASE WHEN d.until > now() + interval '10 s' AND d.span IS NOT DISTINCT FROM greatest(d.span, excluded.span)
                 THEN d.epoch ELSE greatest(excluded.epoch, d.epoch + 1) END,
    since = CASE WHEN d.until > now() + interval '10 s' AND d.span IS NOT DISTINCT FROM greatest(d.span, excluded.span)
                 THEN d.since END,
    until = greatest(d.until, excluded.until),
    keep = excluded.keep,
    keep_bytes = excluded.keep_bytes,
    span = greatest(d.span, excluded.span),
    written = excluded.written
RETURNING epoch, since IS NOT NULL AS begun

-- name: begin
-- The demand has been committed: transactions that get their ids after this one see it.
UPDATE landing_demand SET since = pg_current_xact_id(), written = pg_current_xact_id()
WHERE follower = $1 AND epoch = $2 AND since IS NULL

-- name: between
-- What snapshot $1 does not see, in which $2 transactions had completed, and $3 does, or this one
-- where that is null; in any case one row. ``whole``: all that landed after $1 was kept for follower
-- $4; ``kept``: none of that was pruned.
SELECT d.epoch, pg_current_snapshot()::text AS snapshot, clock_timestamp() AS now,
       d.since <= pg_snapshot_xmin($1::text::pg_snapshot) AS whole,
       d.pruned <= $2::bigint AS kept,
       l.xid::text AS xid, l.part, l.kind, l.samples
FROM (VALUES (true)) AS one
LEFT JOIN landing_demand AS d ON d.follower = $4 AND d.xmin = d.written::xid
LEFT JOIN landing AS l
    ON l.xid >= pg_snapshot_xmin($1::text::pg_snapshot)
    AND NOT pg_visible_in_snapshot(l.xid, $1::text::pg_snapshot)
    AND ($3::text IS NULL OR pg_visible_in_snapshot(l.xid, $3::text::pg_snapshot))
ORDER BY l.xid, l.part

-- name: position
SELECT epoch, snapshot::text AS snapshot,
       pg_snapshot_xmin(snapshot) >= since AS whole
FROM landing_demand, pg_current_snapshot() AS snapshot
WHERE follower = $1 AND epoch = $2

-- name: payloads
SELECT l.payload
FROM unnest($1::text[], $2::integer[]) WITH ORDINALITY AS wanted (xid, part, place)
JOIN landing AS l ON l.xid = wanted.xid::xid8 AND l.part = wanted.part
ORDER BY wanted.place

-- name: note_horizon
INSERT INTO landing_horizon SELECT WHERE EXISTS (SELECT FROM landing)

-- name: prune
-- What is older than it has to be kept, or beyond the bytes that are, as far as a horizon saw it:
-- all snapshots that were taken later see it as well.
WITH sized AS (
    SELECT landed_at, sum(octet_length(payload)) OVER (ORDER BY landed_at DESC) AS bytes
    FROM landing
), cut AS (
    SELECT greatest(
        now() - coalesce(max(d.keep), interval '0'),
        (SELECT max(landed_at) FROM sized WHERE bytes > coalesce(max(d.keep_bytes), 0))
    ) AS at
    FROM landing_demand AS d WHERE d.until > now() - d.keep
), horizon AS (
    SELECT h.*, pg_snapshot_xmax(h.snapshot)::text::bigint
                - (SELECT count(*) FROM pg_snapshot_xip(h.snapshot)) AS completed
    FROM landing_horizon AS h, cut
    WHERE h.taken_at <= cut.at ORDER BY h.taken_at DESC LIMIT 1
), passed AS (
    DELETE FROM landing_horizon AS h USING horizon WHERE h.taken_at < horizon.taken_at
), gone AS (
    DELETE FROM landing AS l USING horizon WHERE pg_visible_in_snapshot(l.xid, horizon.snapshot)
)
UPDATE landing_demand AS d
SET pruned = greatest(d.pruned, horizon.completed), written = pg_current_xact_id()
FROM horizon

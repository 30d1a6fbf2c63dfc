-- Scrapes: who scrapes what, which slots of time land, and how the targets are. All clocks are the
-- server's.

-- name: beat
-- This streamer is alive, and knows these shards.
INSERT INTO scraper (owner, shards, expires_at)
VALUES ($1, $2, now() + make_interval(secs => $3))
ON CONFLICT (owner) DO UPDATE SET shards = excluded.shards, expires_at = excluded.expires_at

-- name: alive
SELECT owner, shards FROM scraper WHERE expires_at > now()

-- name: clock
SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint

-- name: leave
-- And forget those who died long ago.
DELETE FROM scraper WHERE owner = $1 OR expires_at < now() - interval '1 hour'

-- name: begin_streams
-- Make these streams of slots known; each begins at its slot in $3. Its source is its shard.
INSERT INTO stream_progress (stream_id, source, next_row, fingerprint, looping, slots)
SELECT stream_id, shard, slot, 'scrape', false, true
FROM unnest($1::text[], $2::text[], $3::bigint[]) AS s (stream_id, shard, slot)
ORDER BY stream_id
ON CONFLICT (stream_id) DO NOTHING

-- name: reserve_slots
-- Of each stream, those of the slots from $2 to before $3 that nobody has had, for the owner $5 and
-- $6 seconds: none before next_row, but for those that the same owner has reserved, if the answer
-- was lost. If next_row is beyond $4, a clock was wrong once, and does not count. Slots that are left
-- out never land: each target of the shard has lost them.
WITH wanted AS (
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[])
        AS w (stream_id, slot, after, possible)
), place AS (
    SELECT p.stream_id, p.source AS shard, p.next_row, w.after,
           CASE WHEN own.first_row IS NOT NULL THEN own.first_row
                WHEN p.next_row > w.possible THEN w.slot
                ELSE greatest(w.slot, p.next_row) END AS first,
           CASE WHEN p.next_row > w.possible THEN w.after
                ELSE greatest(w.after, p.next_row) END AS then_next
    FROM stream_progress AS p
    JOIN wanted AS w USING (stream_id)
    CROSS JOIN LATERAL (
        SELECT max(l.first_row) AS first_row FROM stream_lease AS l
        WHERE l.stream_id = w.stream_id AND l.owner = $5
          AND l.first_row >= w.slot AND l.first_row + l.row_count = w.after
    ) AS own
    ORDER BY p.stream_id
    FOR UPDATE OF p
), moved AS (
    UPDATE stream_progress AS p SET next_row = place.then_next
    FROM place WHERE p.stream_id = place.stream_id AND place.first < place.after
), leased AS (
    INSERT INTO stream_lease (stream_id, first_row, row_count, owner, expires_at)
    SELECT stream_id, first, after - first, $5, now() + make_interval(secs => $6)
    FROM place WHERE first < after
    ON CONFLICT (stream_id, first_row) DO UPDATE
    SET row_count = excluded.row_count, owner = excluded.owner, expires_at = excluded.expires_at
), losing AS (
    SELECT t.job, t.url, t.instance, place.first - place.next_row AS slots
    FROM scrape_target AS t JOIN place USING (shard)
    WHERE place.first > place.next_row AND EXISTS (SELECT FROM place WHERE first > next_row)
    ORDER BY t.job, t.url, t.instance
    FOR UPDATE OF t
), noted AS (
    UPDATE scrape_target AS t SET slots_lost = t.slots_lost + losing.slots
    FROM losing WHERE (t.job, t.url, t.instance) = (losing.job, losing.url, losing.instance)
)
SELECT stream_id, first, greatest(0, first - next_row) AS missed FROM place

-- name: expired_slots
-- Slots that were to land by now, of the owner $1 or of one that is not alive.
SELECT l.stream_id, l.first_row
FROM stream_lease AS l JOIN stream_progress AS p USING (stream_id)
WHERE p.slots AND l.expires_at <= now()
  AND (l.owner = $1
       OR NOT EXISTS (SELECT FROM scraper AS s WHERE s.owner = l.owner AND s.expires_at > now()))
ORDER BY l.stream_id, l.first_row
LIMIT $2

-- name: extend_slots
UPDATE stream_lease AS l SET expires_at = now() + make_interval(secs => $3)
FROM unnest($1::text[], $2::bigint[]) AS w (stream_id, first_row)
WHERE l.stream_id = w.stream_id AND l.first_row = w.first_row

-- name: drop_slots
-- Give up these expired slots: a message with them that comes later is taken for a copy. Each target
-- of their shards has lost them.
WITH dropped AS (
    DELETE FROM stream_lease AS l
    USING unnest($1::text[], $2::bigint[]) AS w (stream_id, first_row)
    WHERE l.stream_id = w.stream_id AND l.first_row = w.first_row AND l.expires_at <= now()
    RETURNING l.stream_id, l.row_count
), lost AS (
    SELECT p.source AS shard, sum(dropped.row_count)::bigint AS slots
    FROM dropped JOIN stream_progress AS p USING (stream_id) GROUP BY p.source
), noted AS (
    UPDATE scrape_target AS t SET slots_lost = t.slots_lost + lost.slots
    FROM lost WHERE t.shard = lost.shard
)
SELECT shard, slots FROM lost

-- name: add_targets
-- Those that are not known yet, or of another shard, before a slot of theirs can be lost.
INSERT INTO scrape_target (owner, job, url, shard, labels, interval_s, timeout_s)
SELECT $1, *
FROM unnest($2::text[], $3::text[], $4::text[], $5::jsonb[], $6::float8[], $7::float8[])
    AS r (job, url, shard, labels)
ORDER BY job, url, labels ->> 'instance'
ON CONFLICT (job, url, instance) DO UPDATE SET owner = excluded.owner, shard = excluded.shard

-- name: report
-- Locked in order, as those are that lose slots.
INSERT INTO scrape_target AS t (
    owner, job, url, shard, labels, interval_s, timeout_s, scraped_at, duration_s, samples, refused,
    error, frozen_since)
SELECT $1, *
FROM unnest($2::text[], $3::text[], $4::text[], $5::jsonb[], $6::float8[], $7::float8[],
            $8::timestamptz[], $9::float8[], $10::integer[], $11::integer[], $12::text[],
            $13::timestamptz[])
    AS r (job, url, shard, labels)
ORDER BY job, url, labels ->> 'instance'
ON CONFLICT (job, url, instance) DO UPDATE
SET owner = excluded.owner, shard = excluded.shard, labels = excluded.labels,
    interval_s = excluded.interval_s, timeout_s = excluded.timeout_s,
    scraped_at = excluded.scraped_at, duration_s = excluded.duration_s,
    samples = excluded.samples, refused = excluded.refused, error = excluded.error,
    frozen_since = excluded.frozen_since, reported_at = now()

-- name: forget_targets
-- Those of the jobs $1 that are not among these, and that no other streamer than $5 scrapes; and
-- those that nobody has reported for a day.
DELETE FROM scrape_target AS t
WHERE reported_at < now() - interval '1 day'
   OR job = ANY ($1::text[]) AND NOT EXISTS (
       SELECT FROM unnest($2::text[], $3::text[], $4::text[]) AS w (job, url, instance)
       WHERE (w.job, w.url, w.instance) = (t.job, t.url, t.instance)
   ) AND NOT EXISTS (
       SELECT FROM scraper AS s
       WHERE s.expires_at > now() AND s.owner <> $5 AND t.shard = ANY (s.shards)
   )

-- name: forget_streams
-- Each change of the targets of a shard makes a new stream. One that is still in use is made again.
DELETE FROM stream_progress AS p
WHERE slots AND created_at < now() - interval '7 days'
  AND NOT EXISTS (SELECT FROM stream_lease AS l WHERE l.stream_id = p.stream_id)

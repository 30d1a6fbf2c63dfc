-- The work index of streams: who reads which rows. All clocks are the server's.

-- name: register
-- Make the stream known; the first streamer to come decides what it is, and that it begins at row $5.
INSERT INTO stream_progress (stream_id, fingerprint, source, looping, next_row)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (stream_id) DO NOTHING

-- name: describe
SELECT next_row, row_count, looping, fingerprint, source FROM stream_progress WHERE stream_id = $1

-- name: ended_streams
-- What was read from the source to its end, and all of which has landed.
SELECT fingerprint, row_count FROM stream_progress AS p
WHERE source = $1 AND NOT looping AND next_row >= row_count
  AND NOT EXISTS (SELECT FROM stream_lease AS l WHERE l.stream_id = p.stream_id)

-- name: reserve
-- Take over one expired lease if there is one, else reserve up to $3 new rows, for $4 seconds.
WITH expired AS (
    SELECT first_row FROM stream_lease
    WHERE stream_id = $1 AND expires_at <= now()
    ORDER BY first_row LIMIT 1
    FOR UPDATE SKIP LOCKED
), taken AS (
    UPDATE stream_lease AS lease
    SET owner = $2, expires_at = now() + make_interval(secs => $4)
    FROM expired
    WHERE lease.stream_id = $1 AND lease.first_row = expired.first_row
    RETURNING lease.first_row, lease.row_count
), place AS (
    SELECT next_row, least($3::bigint, coalesce(row_count - next_row, $3::bigint)) AS reserved
    FROM stream_progress
    WHERE stream_id = $1 AND (row_count IS NULL OR next_row < row_count)
      AND NOT EXISTS (SELECT FROM taken)
    FOR UPDATE
), moved AS (
    UPDATE stream_progress AS progress
    SET next_row = place.next_row + place.reserved, reserved_at = now()
    FROM place WHERE progress.stream_id = $1
), fresh AS (
    INSERT INTO stream_lease (stream_id, first_row, row_count, owner, expires_at)
    SELECT $1, next_row, reserved, $2, now() + make_interval(secs => $4) FROM place
    RETURNING first_row, row_count
)
SELECT first_row, row_count, true AS taken_over FROM taken
UNION ALL
SELECT first_row, row_count, false FROM fresh

-- name: finish_progress
-- The source ends at row $2.
UPDATE stream_progress SET row_count = $2, next_row = least(next_row, $2) WHERE stream_id = $1

-- name: finish_leases
-- Chunks beyond the end hold no rows.
DELETE FROM stream_lease WHERE stream_id = $1 AND first_row >= $2

-- name: finish_last_lease
-- The chunk across the end holds only the rows before it.
UPDATE stream_lease SET row_count = $2 - first_row
WHERE stream_id = $1 AND first_row < $2 AND first_row + row_count > $2

-- name: release
-- Hand back: whoever reserves next takes these over at once.
UPDATE stream_lease SET expires_at = now()
WHERE stream_id = $1 AND owner = $2 AND first_row = ANY ($3::bigint[])

-- name: progress
SELECT p.next_row, p.row_count,
       count(l.first_row) AS leases,
       coalesce(sum(l.row_count), 0)::bigint AS leased_rows,
       count(l.first_row) FILTER (WHERE l.owner = $2) AS own_leases,
       extract(epoch FROM min(l.expires_at) - now())::float8 AS next_expiry_s,
       (SELECT coalesce(sum(rejected), 0)::bigint FROM stream_rejects
        WHERE stream_id = $1) AS rejected_rows,
       (SELECT coalesce(sum(skipped), 0)::bigint FROM stream_rejects
        WHERE stream_id = $1) AS skipped_lines,
       (SELECT coalesce(sum(repeats), 0)::bigint FROM stream_repeats
        WHERE stream_id = $1) AS repeated_rows,
       p.deleted_samples
FROM stream_progress AS p
LEFT JOIN stream_lease AS l USING (stream_id)
WHERE p.stream_id = $1
GROUP BY p.stream_id

-- name: unsettled
-- Which of these chunks have not landed yet.
SELECT first_row FROM stream_lease WHERE stream_id = $1 AND first_row = ANY ($2::bigint[])

-- name: all
-- Every stream of a file, the last one read first.
SELECT p.stream_id, p.source, p.looping, p.next_row, p.row_count, p.created_at, p.reserved_at,
       p.recorded, p.deleted_samples, coalesce(sum(l.row_count), 0)::bigint AS leased_rows
FROM stream_progress AS p LEFT JOIN stream_lease AS l USING (stream_id)
WHERE NOT p.slots
GROUP BY p.stream_id
ORDER BY coalesce(p.reserved_at, p.created_at) DESC, p.stream_id

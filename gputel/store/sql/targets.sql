-- The targets of scrapes.

-- name: targets
-- Of the job $1, or of all jobs if it is null; at most $2 of them, in order of job and instance. Once
-- their texts have over $3 bytes together, no more follow: so_far of the last one tells. A target is
-- known to be scraped if its report is not older than $4 seconds, and than $5 of its intervals.
SELECT job, url, labels, interval_s, timeout_s, owner, scraped_at, duration_s, samples, refused,
       error, frozen_since, slots_lost, reported_at,
       reported_at >= now() - make_interval(secs => greatest($4::float8, $5::float8 * interval_s))
           AS reported,
       so_far
FROM (
    SELECT t.*, sized.bytes, sum(sized.bytes) OVER (
               ORDER BY job COLLATE "C", (labels ->> 'instance') COLLATE "C", url COLLATE "C"
               ROWS UNBOUNDED PRECEDING
           )::bigint AS so_far
    FROM scrape_target AS t
    CROSS JOIN LATERAL (
        SELECT 300 + octet_length(job) + octet_length(url) + octet_length(labels::text)
               + octet_length(owner) + octet_length(error)
    ) AS sized (bytes)
    WHERE $1::text IS NULL OR job = $1
) AS found
WHERE so_far - bytes <= $3
ORDER BY so_far
LIMIT $2

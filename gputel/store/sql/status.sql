-- The state of the store, for people.

-- name: parts
SELECT part::text AS name, day,
       pg_table_size(part) - coalesce(pg_total_relation_size(nullif(reltoastrelid, 0)), 0) AS heap,
       coalesce(pg_total_relation_size(nullif(reltoastrelid, 0)), 0) AS toast,
       pg_indexes_size(part) AS index,
       least(100, 100 * $1::float8 / greatest(1, pg_relation_size(part))) AS percent
FROM sample_block_part JOIN pg_class AS c ON c.oid = part
ORDER BY day

-- name: store
SELECT now() AS now, (SELECT count(*) FROM series) AS series,
       (SELECT relkind FROM pg_class WHERE oid = 'sample_block'::regclass) <> 'p' AS timescaledb,
       (SELECT count(DISTINCT hour) FROM rollup_stale) AS stale_hours,
       (SELECT coalesce(sum(pg_total_relation_size(part)), 0)::bigint FROM rollup_part)
           AS rollup_bytes

-- name: contents
-- Of a partition, from a sample of its pages; $2 is MOST_SAMPLES, from which on blocks are whole.
SELECT count(*) AS blocks, coalesce(sum(samples), 0)::bigint AS samples,
       min(first_ts) AS oldest, max(last_ts) AS newest,
       count(*) FILTER (WHERE samples < $2)
           - count(DISTINCT (series_id, stream)) FILTER (WHERE samples < $2) AS to_merge
FROM {part} TABLESAMPLE SYSTEM ($1)

-- name: frames
-- By day, with its share of the bytes of all frames and their lists.
WITH sized AS (
    SELECT sum(pg_table_size(part) - coalesce(pg_total_relation_size(nullif(reltoastrelid, 0)), 0))
               AS heap,
           sum(coalesce(pg_total_relation_size(nullif(reltoastrelid, 0)), 0)) AS toast,
           sum(pg_indexes_size(part)) AS index
    FROM unnest('{sample_frame, series_list, series_list_member}'::regclass[]) AS part
    JOIN pg_class AS c ON c.oid = part
), by_day AS (
    SELECT (last_ts AT TIME ZONE 'UTC')::date AS day, sum(cardinality(value))::bigint AS samples,
           sum(cardinality(value) / samples)::bigint AS blocks,
           min(first_ts) AS oldest, max(last_ts) AS newest
    FROM sample_frame GROUP BY 1
), shared AS (
    SELECT *, samples::float8 / (sum(samples) OVER ())::float8 AS share FROM by_day
)
SELECT day, samples, blocks, oldest, newest, (heap * share)::bigint AS heap,
       (toast * share)::bigint AS toast, (index * share)::bigint AS index
FROM shared CROSS JOIN sized

-- name: numbers
-- For metrics, so without a look at the blocks. A target that is scraped does not make the newest
-- sample young: its GPUs may be silent.
SELECT (SELECT coalesce(sum(pg_total_relation_size(part)), 0)::bigint FROM
           (SELECT part FROM sample_block_part UNION ALL SELECT part FROM rollup_part
            UNION ALL SELECT 'sample_frame'::regclass) AS parts)
           AS bytes,
       (SELECT extract(epoch FROM now() - max(last_ts))::float8 FROM gpu
        WHERE uuid NOT LIKE '/* prefix of targets */%') AS newest_age_s

-- name: rows_left
-- Of the $1 streams with the most of them.
SELECT stream_id, sum(l.row_count)::bigint AS rows
FROM stream_lease AS l JOIN stream_progress AS p USING (stream_id)
WHERE NOT p.slots
GROUP BY stream_id ORDER BY rows DESC, stream_id LIMIT $1

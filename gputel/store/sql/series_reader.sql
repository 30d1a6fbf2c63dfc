-- What is asked of many series at once.

-- name: series
-- Ids of series of GPUs that were seen from $1 to $2, in no set order; conditions on labels are put
-- in place of the mark.
SELECT array_send(array_agg(s.series_id))
FROM series AS s JOIN gpu AS g USING (uuid)
WHERE g.last_ts >= $1 AND g.first_ts <= $2 /* conditions */

-- name: others
-- The ids of all other series of the same metrics and GPUs as these.
SELECT array_send(array_agg(s.series_id))
FROM (SELECT DISTINCT uuid, metric_name FROM series WHERE series_id = ANY ($1::bigint[])) AS wanted
JOIN series AS s USING (uuid, metric_name)
WHERE s.series_id <> ALL ($1::bigint[])

-- name: sampled
-- Of these series, those that have samples from $2 to $3, in no set order; $4 is the midnight from
-- which on blocks hold nothing of it. Only a block that begins before the time and ends after it has
-- to be looked into: times at a beat are counted, and others read.
SELECT array_send(array_agg(wanted.series_id))
FROM unnest($1::bigint[]) AS wanted (series_id)
WHERE (
    SELECT true FROM stored_block AS b
    WHERE b.series_id = wanted.series_id AND b.last_ts >= $2 AND b.last_ts < $4 AND b.first_ts <= $3
      AND CASE
          WHEN b.first_ts >= $2 OR b.last_ts <= $3 THEN true
          WHEN b.off_us IS NULL
          THEN floor(extract(epoch FROM $3 - b.first_ts) * 1000000 / b.step_us)
               >= ceil(extract(epoch FROM $2 - b.first_ts) * 1000000 / b.step_us)
          ELSE EXISTS (
              SELECT FROM unnest(b.off_us) WITH ORDINALITY AS sample (off_us, i)
              WHERE b.first_ts + (b.step_us * (sample.i - 1) + sample.off_us)
                                 * interval '1 microsecond' BETWEEN $2 AND $3
          )
      END
    LIMIT 1
)

-- name: ends
-- When these series ended from $2 to $3.
SELECT array_send(array_agg(series_id)) AS series_id, array_send(array_agg(ts)) AS ts
FROM series_end WHERE ts BETWEEN $2 AND $3 AND series_id = ANY ($1::bigint[])

-- name: ends_in
-- The same of all series.
SELECT array_send(array_agg(series_id)) AS series_id, array_send(array_agg(ts)) AS ts
FROM series_end WHERE ts BETWEEN $1 AND $2

-- name: labels
SELECT series_id, /* labels */
FROM series WHERE series_id = ANY ($1::bigint[])

-- name: blocks
-- Series ids; of their blocks that have samples from $2 to $3, with last_ts before $4, the samples
-- that may be in that time: `skipped` many at a block's start are left out. Where times come at a
-- beat, that is exact; a block with offsets goes out whole, and so does one that lies within.
SELECT b.series_id, timestamptz_send(b.first_ts) AS first_ts, b.step_us, cut.first - 1 AS skipped,
       array_send(CASE WHEN cut.whole THEN b.off_us END) AS off_us,
       array_send(CASE WHEN cut.whole THEN b.value ELSE b.value[cut.first:cut.last] END) AS value
FROM sample_block AS b
CROSS JOIN LATERAL (
    SELECT b.off_us IS NOT NULL OR b.step_us <= 0 OR (b.first_ts >= $2 AND b.last_ts <= $3)
) AS fits (whole)
CROSS JOIN LATERAL (
    SELECT fits.whole,
           CASE WHEN fits.whole OR b.first_ts >= $2 THEN 1
                ELSE ceil((extract(epoch FROM $2 - b.first_ts) * 1000000) / b.step_us)::int + 1
           END,
           CASE WHEN fits.whole THEN b.samples
                ELSE least(b.samples,
                           floor((extract(epoch FROM $3 - b.first_ts) * 1000000)
                                 / b.step_us)::bigint + 1)::int
           END
) AS cut (whole, first, last)
WHERE b.series_id = ANY ($1::bigint[])
  AND b.last_ts >= $2 AND b.last_ts < $4 AND b.first_ts <= $3
ORDER BY b.series_id, b.first_ts

-- name: frames
-- Likewise of their frames, as many as have the same number of samples and the same step in one row:
-- when each begins, and the arrays of their samples, one after another, in one order.
SELECT m.series_id, f.samples, f.step_us, string_agg(timestamptz_send(f.first_ts), '') AS first_ts,
       string_agg(array_send(f.value[(m.place - 1) * f.samples + 1 : m.place * f.samples]), '')
           AS value
FROM series_list_member AS m JOIN sample_frame AS f USING (list_id)
WHERE m.series_id = ANY ($1::bigint[])
  AND f.last_ts >= $2 AND f.last_ts < $4 AND f.first_ts <= $3
GROUP BY m.series_id, f.samples, f.step_us

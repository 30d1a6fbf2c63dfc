-- The newest sample of each series.

-- name: oldest
-- No series that `latest` gives is older. A GPU that has been silent for long makes this early. And
-- whether a GPU was last seen before $3.
SELECT coalesce($1::timestamptz, min(last_ts) - $2::interval) AS since, min(last_ts) < $3 AS silent
FROM gpu

-- name: there
-- Whether each of the series $1 has a sample within $3 of its time in $2, in their order.
SELECT array_agg(coalesce(reading.found, false) ORDER BY w.place)
FROM unnest($1::bigint[], $2::timestamptz[]) WITH ORDINALITY AS w (series_id, at, place)
LEFT JOIN LATERAL (
    SELECT true AS found
    FROM stored_block AS b
    CROSS JOIN LATERAL unnest(b.off_us, b.value) WITH ORDINALITY AS sample (off_us, value, i)
    WHERE b.series_id = w.series_id AND b.last_ts >= w.at - $3::interval
      AND b.last_ts < date_trunc('day', w.at + $3::interval, 'UTC') + interval '1 day'
      AND b.first_ts <= w.at + $3::interval
      AND b.first_ts + (b.step_us * (sample.i - 1) + coalesce(sample.off_us, 0))
                       * interval '1 microsecond'
          BETWEEN w.at - $3::interval AND w.at + $3::interval
    LIMIT 1
) AS reading ON true

-- name: latest
-- Of the series selected, of GPUs last seen before $5, those with a sample from $1 on, or where that is null, from $2 before the
-- newest of their GPU on, in columns and in no set order; more than $3 at most by one. Each that is
-- selected takes one step into the index (series_id, last_ts), of no day before $4, which Postgres
-- then leaves out of the plan at once, and one into that of the frames of each of its lists. Of several
-- values of an instant the one that counts is taken. A series whose end came after its last sample is
-- left out.
SELECT array_send(array_agg(series_id)) AS series_id, array_send(array_agg(last_ts)) AS last_ts,
       array_send(array_agg(value)) AS value
FROM (
    SELECT s.series_id, newest.last_ts, newest.value
    FROM series AS s JOIN gpu AS g USING (uuid)
    CROSS JOIN LATERAL (
        SELECT last_ts, value
        FROM (
            SELECT last_ts, value[samples] AS value FROM (
                SELECT last_ts, samples, value FROM sample_block
                WHERE series_id = s.series_id
                  AND last_ts >= coalesce($1::timestamptz, g.last_ts - $2::interval)
                  AND last_ts <= g.last_ts AND last_ts >= $4::timestamptz
                ORDER BY last_ts DESC
                FETCH FIRST ROW WITH TIES
            ) AS block
            UNION ALL
            SELECT frame.last_ts, frame.value[m.place * frame.samples]
            FROM series_list_member AS m
            CROSS JOIN LATERAL (
                SELECT last_ts, samples, value FROM sample_frame
                WHERE list_id = m.list_id
                  AND last_ts >= coalesce($1::timestamptz, g.last_ts - $2::interval)
                  AND last_ts <= g.last_ts AND last_ts >= $4::timestamptz
                ORDER BY last_ts DESC
                FETCH FIRST ROW WITH TIES
            ) AS frame
            WHERE m.series_id = s.series_id
        ) AS readings
        ORDER BY last_ts DESC, value = 'NaN', value DESC
        LIMIT 1
    ) AS newest
    WHERE g.last_ts >= coalesce($1::timestamptz, '-infinity') AND g.last_ts < $5::timestamptz
      AND (s.ended_at IS NULL OR s.ended_at < newest.last_ts) AND {where}
    LIMIT $3::bigint + 1
) AS found

-- Frames: the samples of one instant, or a few, of many series in one row. A fleet that is scraped
-- brings one sample of each series at a time, and a row for each would cost far more than the
-- sample.

CREATE TABLE series_list (
    list_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest  bytea NOT NULL UNIQUE  -- of the ids of its series, in order
);
COMMENT ON TABLE series_list IS 'Lists of series of one GPU that come at the same times.';

CREATE TABLE series_list_member (
    series_id bigint NOT NULL,
    list_id   bigint NOT NULL,
    place     integer NOT NULL,  -- in the list, from 1
    PRIMARY KEY (series_id, list_id) INCLUDE (place)
);
CREATE INDEX series_list_member_list ON series_list_member (list_id);

-- Sample i, counted from 0, of the series in place p, counted from 1, is
-- value[(p - 1) * samples + i + 1], and of the time first_ts + i * step_us. A frame never spans
-- midnight UTC. Streams of files have no frames. Maintenance makes blocks of frames before long, so
-- this table stays small.
CREATE TABLE sample_frame (
    list_id  bigint NOT NULL,
    first_ts timestamptz NOT NULL,
    last_ts  timestamptz NOT NULL,
    step_us  bigint NOT NULL,   -- microseconds
    samples  integer NOT NULL,  -- of each series
    value    float8[] NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
        autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 20000);
COMMENT ON TABLE sample_frame IS 'The samples of a list of series at the same times.';
CREATE INDEX sample_frame_list ON sample_frame (list_id, last_ts);

CREATE VIEW stored_block AS
SELECT series_id, first_ts, last_ts, step_us, samples, off_us, value, stream FROM sample_block
UNION ALL
SELECT m.series_id, f.first_ts, f.last_ts, f.step_us, f.samples, NULL,
       f.value[(m.place - 1) * f.samples + 1 : m.place * f.samples], 0
FROM sample_frame AS f JOIN series_list_member AS m USING (list_id);
COMMENT ON VIEW stored_block IS 'All samples as blocks: those of frames as well.';

CREATE OR REPLACE VIEW telemetry AS
SELECT b.first_ts + (b.step_us * (sample.place - 1) + coalesce(sample.off_us, 0))
                    * interval '1 microsecond' AS timestamp,
       s.metric_name, s.gpu_id, s.device, s.uuid, s.model_name, s.hostname, s.container, s.pod,
       s.namespace, sample.value, s.labels_raw
FROM stored_block AS b
JOIN series AS s USING (series_id)
CROSS JOIN LATERAL unnest(b.off_us, b.value) WITH ORDINALITY AS sample (off_us, value, place);

CREATE OR REPLACE FUNCTION drop_sample_block_day(day date) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    found regclass := (SELECT p.part FROM sample_block_part AS p WHERE p.day = $1);
BEGIN
    IF (SELECT relkind FROM pg_class WHERE oid = 'sample_block'::regclass) = 'p' THEN
        EXECUTE format('DROP TABLE IF EXISTS %s', found);
        DELETE FROM sample_frame AS f
        WHERE f.last_ts >= day::timestamp AT TIME ZONE 'UTC'
          AND f.last_ts < (day + 1)::timestamp AT TIME ZONE 'UTC';
    ELSE
        PERFORM drop_chunks('sample_block',
                            newer_than => day::timestamp AT TIME ZONE 'UTC',
                            older_than => (day + 1)::timestamp AT TIME ZONE 'UTC');
    END IF;
END
$$;

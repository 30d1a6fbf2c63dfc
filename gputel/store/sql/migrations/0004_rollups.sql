-- Rollups of a minute and of an hour, and the hours whose rollups are not, or no longer, right.

-- A row holds the buckets of one series: of one hour where step_s is 60, of one UTC day where it is
-- 3600. Bucket i, counted from 0, begins at start + (place[i], or i where place is null) * step_s
-- seconds; one without samples is left out. All arrays have one length and are in time order.
CREATE TABLE rollup (
    series_id bigint NOT NULL,
    step_s    integer NOT NULL,      -- seconds
    start     timestamptz NOT NULL,  -- of the hour or the day
    place     bigint[],
    min       float8[] NOT NULL,     -- NaN only where no sample is a number
    max       float8[] NOT NULL,
    sum       float8[] NOT NULL,
    last      float8[] NOT NULL,
    count     bigint[] NOT NULL
) PARTITION BY RANGE (start);
COMMENT ON TABLE rollup IS 'Samples by minute and by hour; right for hours that rollup_stale lacks.';
CREATE INDEX rollup_series ON rollup (series_id, step_s, start);
-- Compressed whatever their size, and kept beside each other.
ALTER TABLE rollup
    ALTER place SET STORAGE MAIN, ALTER min SET STORAGE MAIN, ALTER max SET STORAGE MAIN,
    ALTER sum SET STORAGE MAIN, ALTER last SET STORAGE MAIN, ALTER count SET STORAGE MAIN;

CREATE VIEW rollup_part AS
SELECT c.oid::regclass AS part, to_date(right(c.relname, 8), 'YYYYMMDD') AS day
FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = 'rollup'::regclass;
COMMENT ON VIEW rollup_part IS 'The partition of rollups of each UTC day.';

-- One process at a time calls it. ATTACH does not shut out readers of the parent.
CREATE FUNCTION ensure_rollup_day(day date) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    partition text := 'rollup_' || to_char(day, 'YYYYMMDD');
BEGIN
    IF EXISTS (SELECT FROM rollup_part AS p WHERE p.day = $1) THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE rollup INCLUDING STORAGE) WITH (toast_tuple_target = 128)',
                   partition);
    EXECUTE format(
        'ALTER TABLE rollup ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        partition, day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
END
$$;
COMMENT ON FUNCTION ensure_rollup_day IS 'Make the partition of rollups of a day, if it is missing.';

CREATE FUNCTION drop_rollup_day(day date) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('DROP TABLE %s', (SELECT p.part FROM rollup_part AS p WHERE p.day = $1));
END
$$;
COMMENT ON FUNCTION drop_rollup_day IS 'Drop the partition of rollups of one UTC day.';

-- Rows are only added and deleted, so that writers of one hour do not wait for each other.
CREATE TABLE rollup_stale (
    hour    timestamptz NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE rollup_stale IS
    'Hours written to since their rollups were made: added in the transaction that adds blocks.';

INSERT INTO rollup_stale (hour)
SELECT DISTINCT hour
FROM sample_block AS b
CROSS JOIN LATERAL generate_series(date_trunc('hour', b.first_ts, 'UTC'), b.last_ts, '1 hour')
    AS each (hour);

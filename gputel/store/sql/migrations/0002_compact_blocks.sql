-- Times of a block as a start, a step and offsets; hypertables where TimescaleDB is at hand.

DROP VIEW telemetry;
ALTER TABLE sample_block RENAME TO sample_block_v1;
ALTER INDEX sample_block_series RENAME TO sample_block_v1_series;
DO $$
DECLARE
    part name;
BEGIN
    FOR part IN
        SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'sample_block_v1'::regclass
    LOOP
        EXECUTE format('ALTER TABLE %I RENAME TO %I', part, part || '_v1');
    END LOOP;
END
$$;

-- Whether this database has TimescaleDB, or lets us have it. Asked before CREATE EXTENSION, which
-- ends the session where the library is not preloaded.
CREATE FUNCTION sample_block_timescaledb() RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') THEN
        RETURN true;
    END IF;
    IF current_setting('timescaledb.disable_load', true) IS NULL
       OR NOT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb') THEN
        RETURN false;
    END IF;
    CREATE EXTENSION timescaledb;
    RETURN true;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'TimescaleDB is not used: %', SQLERRM;
    RETURN false;
END
$$;

-- Sample i of a block, counted from 0, is of the time first_ts + i * step_us + off_us[i], in time
-- order. A block never spans midnight UTC, so a day is a partition and [first_ts, last_ts] lies
-- within it.
DO $$
DECLARE
    columns text := $columns$
        series_id bigint NOT NULL,
        first_ts  timestamptz NOT NULL,
        last_ts   timestamptz NOT NULL,
        step_us   bigint NOT NULL,   -- microseconds
        samples   integer NOT NULL,  -- length of value
        off_us    bigint[],          -- microseconds; null where all are 0
        value     float8[] NOT NULL
    $columns$;
BEGIN
    IF sample_block_timescaledb() THEN
        EXECUTE format('CREATE TABLE sample_block (%s)', columns);
        PERFORM create_hypertable('sample_block', by_range('last_ts', interval '1 day'),
                                  create_default_indexes => false);
        CREATE VIEW sample_block_part AS
        SELECT format('%I.%I', chunk_schema, chunk_name)::regclass AS part,
               (range_start AT TIME ZONE 'UTC')::date AS day
        FROM timescaledb_information.chunks
        WHERE hypertable_schema = current_schema AND hypertable_name = 'sample_block';
    ELSE
        EXECUTE format('CREATE TABLE sample_block (%s) PARTITION BY RANGE (last_ts)', columns);
        CREATE VIEW sample_block_part AS
        SELECT c.oid::regclass AS part, to_date(right(c.relname, 8), 'YYYYMMDD') AS day
        FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'sample_block'::regclass;
    END IF;
END
$$;
DROP FUNCTION sample_block_timescaledb;
COMMENT ON TABLE sample_block IS 'The samples of one series from one commit, or merged from several.';
COMMENT ON VIEW sample_block_part IS 'The partition of each UTC day.';
CREATE INDEX sample_block_series ON sample_block (series_id, last_ts);

CREATE OR REPLACE FUNCTION ensure_sample_block_day(day date) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    partition text := 'sample_block_' || to_char(day, 'YYYYMMDD');
BEGIN
    IF to_regclass(partition) IS NOT NULL
       OR (SELECT relkind FROM pg_class WHERE oid = 'sample_block'::regclass) <> 'p' THEN
        RETURN;  -- TimescaleDB makes its own
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('gputel.sample_block'));
    -- Not to_regclass again: it may answer from a cache older than the lock.
    PERFORM FROM pg_class AS c
    JOIN pg_class AS parent ON parent.relnamespace = c.relnamespace
    WHERE c.relname = partition AND parent.oid = 'sample_block'::regclass;
    IF FOUND THEN
        RETURN;
    END IF;
    -- ATTACH, unlike CREATE ... PARTITION OF, does not shut out readers and writers of the parent.
    EXECUTE format('CREATE TABLE %I (LIKE sample_block INCLUDING STORAGE)', partition);
    EXECUTE format(
        'ALTER TABLE sample_block ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        partition, day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
END
$$;

CREATE FUNCTION drop_sample_block_day(day date) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    found regclass := (SELECT p.part FROM sample_block_part AS p WHERE p.day = $1);
BEGIN
    IF (SELECT relkind FROM pg_class WHERE oid = 'sample_block'::regclass) = 'p' THEN
        EXECUTE format('DROP TABLE IF EXISTS %s', found);
    ELSE
        PERFORM drop_chunks('sample_block',
                            newer_than => day::timestamp AT TIME ZONE 'UTC',
                            older_than => (day + 1)::timestamp AT TIME ZONE 'UTC');
    END IF;
END
$$;
COMMENT ON FUNCTION drop_sample_block_day IS 'Drop the partition of one UTC day.';

CREATE VIEW telemetry AS
SELECT b.first_ts + (b.step_us * (sample.place - 1) + coalesce(sample.off_us, 0))
                    * interval '1 microsecond' AS timestamp,
       s.metric_name, s.gpu_id, s.device, s.uuid, s.model_name, s.hostname, s.container, s.pod,
       s.namespace, sample.value, s.labels_raw
FROM sample_block AS b
JOIN series AS s USING (series_id)
CROSS JOIN LATERAL unnest(b.off_us, b.value) WITH ORDINALITY AS sample (off_us, value, place);
COMMENT ON VIEW telemetry IS 'Records as classic flat rows.';

SELECT ensure_sample_block_day(day)
FROM (SELECT DISTINCT (last_ts AT TIME ZONE 'UTC')::date AS day FROM sample_block_v1) AS days;

INSERT INTO sample_block (series_id, first_ts, last_ts, step_us, samples, off_us, value)
SELECT b.series_id, b.first_ts, b.last_ts, beat.step_us, cardinality(b.value),
       CASE WHEN times.uneven THEN times.off_us END, b.value
FROM sample_block_v1 AS b
CROSS JOIN LATERAL (
    SELECT coalesce((extract(epoch FROM b.ts[2] - b.ts[1]) * 1000000)::bigint, 0) AS step_us
) AS beat
CROSS JOIN LATERAL (
    SELECT array_agg(off_us ORDER BY place) AS off_us, bool_or(off_us <> 0) AS uneven
    FROM (
        SELECT place, (extract(epoch FROM moment - b.first_ts) * 1000000)::bigint
                      - beat.step_us * (place - 1) AS off_us
        FROM unnest(b.ts) WITH ORDINALITY AS each (moment, place)
    ) AS offsets
) AS times;
DROP TABLE sample_block_v1;

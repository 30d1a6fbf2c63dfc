-- Landings also feed the memory of an api, which holds the newest hours. It follows all the time, so
-- writers keep for it only what is not older than its window, and note that older samples came.
-- An api of an older release cannot follow any more; its live streams end.

DELETE FROM landing_demand;
ALTER TABLE landing_demand
    DROP COLUMN sole,
    ADD COLUMN follower text PRIMARY KEY CHECK (follower IN ('stream', 'head')),
    ADD COLUMN span interval;
COMMENT ON TABLE landing_demand IS 'For each kind of follower: until when writers keep landings, of which span of time before now (all if null); the first transaction that surely did; how many transactions had completed in the snapshot up to which they were pruned; which one wrote this.';

-- a: all samples of a part, from a collector of an older release; r: recent ones, within the span;
-- o: older ones, or the note that some came, if the part has none; e: ends of series, with the ids
-- and times of samples; x: none, but the note that samples of the span were deleted.
ALTER TABLE landing ADD COLUMN kind "char" NOT NULL DEFAULT 'a';

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
    INSERT INTO landing (part, kind, samples, payload)
    SELECT 0, 'x', 0, '' FROM landing_demand AS d
    WHERE d.follower = 'head'
      AND (day + 1)::timestamp AT TIME ZONE 'UTC' > now() - d.span - interval '1 hour'
    ON CONFLICT DO NOTHING;
END
$$;

-- A hypertable keeps a policy of its own; native partitions are dropped by gputel's maintenance.

CREATE FUNCTION set_sample_block_retention(age interval) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT relkind FROM pg_class WHERE oid = 'sample_block'::regclass) = 'p' THEN
        RETURN;
    END IF;
    PERFORM FROM timescaledb_information.jobs
    WHERE hypertable_schema = current_schema AND hypertable_name = 'sample_block'
      AND proc_name = 'policy_retention' AND (config ->> 'drop_after')::interval = age;
    IF FOUND THEN
        RETURN;
    END IF;
    PERFORM remove_retention_policy('sample_block', if_exists => true);
    PERFORM add_retention_policy('sample_block', age);
EXCEPTION WHEN feature_not_supported THEN
    RETURN;  -- TimescaleDB without its own licence has no policies: maintenance drops its chunks
END
$$;
COMMENT ON FUNCTION set_sample_block_retention IS 'Give a hypertable a retention policy.';

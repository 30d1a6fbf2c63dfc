-- A condition on the day of a partition may be looked at for every table, partition or not: one whose
-- name does not end in a day must not be an error.

DO $$
BEGIN
    IF (SELECT relkind FROM pg_class WHERE oid = 'sample_block'::regclass) = 'p' THEN
        CREATE OR REPLACE VIEW sample_block_part AS
        SELECT c.oid::regclass AS part,
               CASE WHEN c.relname ~ '_[0-9]{8}$' THEN to_date(right(c.relname, 8), 'YYYYMMDD') END
                   AS day
        FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'sample_block'::regclass;
    END IF;
END
$$;

CREATE OR REPLACE VIEW rollup_part AS
SELECT c.oid::regclass AS part,
       CASE WHEN c.relname ~ '_[0-9]{8}$' THEN to_date(right(c.relname, 8), 'YYYYMMDD') END AS day
FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = 'rollup'::regclass;

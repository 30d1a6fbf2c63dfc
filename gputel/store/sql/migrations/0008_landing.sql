-- What landed within the last minutes, transaction by transaction, for those who follow it live. It
-- is written only while someone does. Unlogged: a crash of the server empties the tables, and the
-- missing demand tells those who come back that there is a gap.

CREATE UNLOGGED TABLE landing (
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    part integer NOT NULL,
    landed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    samples integer NOT NULL,
    payload bytea NOT NULL,
    PRIMARY KEY (xid, part)
);
ALTER TABLE landing ALTER COLUMN payload SET STORAGE EXTERNAL;
COMMENT ON TABLE landing IS 'The samples of transactions that committed lately, in parts, for live streams.';

CREATE UNLOGGED TABLE landing_demand (
    sole boolean PRIMARY KEY DEFAULT true CHECK (sole),
    epoch bigint NOT NULL,
    since xid8,
    pruned_at timestamptz NOT NULL DEFAULT '-infinity',
    until timestamptz NOT NULL,
    keep interval NOT NULL,
    keep_bytes bigint NOT NULL
);
COMMENT ON TABLE landing_demand IS 'Until when writers keep landings; the first transaction that surely did; what was seen by a snapshot of pruned_at may be gone.';

CREATE UNLOGGED TABLE landing_horizon (
    taken_at timestamptz PRIMARY KEY DEFAULT clock_timestamp(),
    snapshot pg_snapshot NOT NULL DEFAULT pg_current_snapshot()
);
COMMENT ON TABLE landing_horizon IS 'Snapshots taken now and then: landings are pruned up to one of them.';

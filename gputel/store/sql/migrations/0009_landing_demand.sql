-- Of the demand, which transaction wrote it last, so that one that a dump brought along is told from
-- one's own; and how far landings were pruned, counted in transactions, as clocks can go backward.

ALTER TABLE landing_demand
    DROP COLUMN pruned_at,
    ADD COLUMN pruned bigint NOT NULL DEFAULT 0,
    ADD COLUMN written xid8 NOT NULL DEFAULT pg_current_xact_id();
COMMENT ON TABLE landing_demand IS 'Until when writers keep landings; the first transaction that surely did; how many transactions had completed in the snapshot up to which they were pruned; which one wrote this.';

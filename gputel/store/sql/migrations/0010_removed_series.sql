-- Series without samples are removed. A collector that still knows the id of one notices before it
-- commits: the count of removals is another one then.

CREATE TABLE series_removal (
    sole boolean PRIMARY KEY DEFAULT true CHECK (sole),
    times bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE series_removal IS 'How often series without samples have been removed.';
INSERT INTO series_removal DEFAULT VALUES;

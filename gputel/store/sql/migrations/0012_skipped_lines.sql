-- Lines that are no rows (blank ones, a header once more) are counted apart, so that nobody takes
-- them for rows that have landed.

ALTER TABLE stream_rejects ADD COLUMN skipped integer NOT NULL DEFAULT 0;
COMMENT ON TABLE stream_rejects IS
    'How many lines of a landed chunk were rejected or skipped, if any were.';

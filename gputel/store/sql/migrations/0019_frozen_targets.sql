-- Since when the values of a target, which should move, have all been the same; null: they move.
ALTER TABLE scrape_target ADD COLUMN frozen_since timestamptz;

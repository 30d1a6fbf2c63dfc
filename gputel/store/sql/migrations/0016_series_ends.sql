-- Where series end because their source said so: a GPU that has gone, a target that is down. No
-- sample tells this, so readers that show the last value for a while need it.

CREATE TABLE series_end (
    ts        timestamptz NOT NULL,
    series_id bigint NOT NULL,
    PRIMARY KEY (ts, series_id)
);
COMMENT ON TABLE series_end IS
    'The times from which on a series has no value until its next sample: stale markers.';

ALTER TABLE series ADD COLUMN ended_at timestamptz;  -- the newest of them

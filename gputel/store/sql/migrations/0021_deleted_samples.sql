-- How many samples of a stream have been deleted, so that who reads its source again is told.

ALTER TABLE stream_progress ADD COLUMN deleted_samples bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN stream_progress.deleted_samples IS
    'Samples that it brought and gputel db delete took away: its rows count as landed all the same.';

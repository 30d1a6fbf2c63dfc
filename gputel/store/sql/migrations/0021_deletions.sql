-- How many samples of a stream have been deleted, so that who reads its source again is told; and when
-- a stream brought samples again, so that a deletion tells of the streams that may have brought its own.

ALTER TABLE stream_progress ADD COLUMN deleted_samples bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN stream_progress.deleted_samples IS
    'Samples that it brought and gputel db delete took away: its rows count as landed all the same.';

ALTER TABLE stream_repeats ADD COLUMN noted_at timestamptz;  -- null: before this migration
ALTER TABLE stream_repeats ALTER COLUMN noted_at SET DEFAULT now();

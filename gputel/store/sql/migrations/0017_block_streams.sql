-- Which stream of a file brought the samples of a block, so that they can be deleted by stream.

ALTER TABLE stream_progress
    ADD COLUMN number integer NOT NULL GENERATED ALWAYS AS IDENTITY,
    ADD COLUMN recorded boolean NOT NULL DEFAULT false,  -- all its blocks have its number
    ADD COLUMN reserved_at timestamptz;                  -- when rows were last reserved
ALTER TABLE stream_progress ALTER COLUMN recorded SET DEFAULT true;
COMMENT ON COLUMN stream_progress.number IS
    'The stream in sample_block. A stream that is deleted and begins again gets another number.';

ALTER TABLE sample_block ADD COLUMN stream integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN sample_block.stream IS
    'stream_progress.number; 0 for scrapes, pushes, and blocks from before it was recorded.';

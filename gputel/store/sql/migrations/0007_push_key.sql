-- Keys of pushes over the API, so that one that comes with another body is noticed.

CREATE TABLE push_key (
    key bytea PRIMARY KEY,
    digest bytea NOT NULL,
    pushed_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE push_key IS 'Idempotency keys of pushes, hashed, each with the digest of its body, remembered as long as the ledger.';
CREATE INDEX push_key_pushed_at ON push_key (pushed_at);

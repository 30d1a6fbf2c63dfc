-- MIG instances: what tells the instances of one GPU apart stands in labels_raw alone.

ALTER TABLE series
    ADD COLUMN gpu_i_id text NOT NULL GENERATED ALWAYS AS (
        coalesce(substring(labels_raw FROM '(?:^|[^A-Za-z0-9_])GPU_I_ID="([^"\\]*)"'), '')
    ) STORED,
    ADD COLUMN gpu_i_profile text NOT NULL GENERATED ALWAYS AS (
        coalesce(substring(labels_raw FROM '(?:^|[^A-Za-z0-9_])GPU_I_PROFILE="([^"\\]*)"'), '')
    ) STORED;

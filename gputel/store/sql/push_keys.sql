-- Keys of pushes.

-- name: note_key
-- The digest that the key first came with; two that come at once wait for each other.
INSERT INTO push_key (key, digest) VALUES ($1, $2)
ON CONFLICT (key) DO UPDATE SET key = excluded.key
RETURNING digest

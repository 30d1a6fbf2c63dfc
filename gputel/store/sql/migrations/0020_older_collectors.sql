-- A collector of a version before 0017 may still run during an upgrade. Its maintenance knows neither
-- frames nor streams: it would make rollups without the samples of frames, and merge streams. So it
-- shall fail at its first statement on these notes. Such a collector goes on landing samples.

ALTER TABLE rollup_stale RENAME COLUMN made_at TO noted_at;

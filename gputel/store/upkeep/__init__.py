"""What a collector does beside landing: merging, retention, rollups."""

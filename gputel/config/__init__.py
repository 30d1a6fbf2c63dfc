"""Settings: flags, environment and defaults in, one frozen dataclass for each component out."""

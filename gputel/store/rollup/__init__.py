"""Blocks in, rollups of a minute and an hour out, and their reader."""

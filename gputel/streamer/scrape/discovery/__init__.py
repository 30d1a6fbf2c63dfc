"""Discovery: a description of where targets are listed comes in, groups of targets go out."""

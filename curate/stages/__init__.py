"""One file per method; a stage registers itself when its module is imported."""

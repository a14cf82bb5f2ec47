"""What became of a run: `build` writes the report, `explain` tells all that is known of one document."""

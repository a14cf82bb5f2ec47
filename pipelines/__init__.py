"""Short readable entry points, also the entry points of cluster jobs."""

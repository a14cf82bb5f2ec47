"""Benchmark items that stand in documents: the items, the index of their n-grams, and the overlap of a document."""

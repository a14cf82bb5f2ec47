"""Benchmark contamination: benchmark items, the index of their n-grams, and their overlap with documents."""

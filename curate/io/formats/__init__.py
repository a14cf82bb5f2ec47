"""Formats that `read` reads, one module each."""

"""Readers: files of any known format in, documents and quarantined rows out."""

"""Kernels on Arrow buffers: bytes and offsets in, numbers out."""

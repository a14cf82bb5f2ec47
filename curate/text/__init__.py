"""Text kernels on Arrow buffers: they read bytes and offsets and return arrays of numbers."""

"""A run's directory: what the driver writes into it, and how people read it."""

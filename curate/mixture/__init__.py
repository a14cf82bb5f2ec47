"""Mixtures: counting tokens, budgets, nested prefixes, and the dataset card."""

"""Mixtures: token counts, budgets, nested prefixes, and the dataset card."""

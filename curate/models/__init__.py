"""Estimators that the pipeline trains or uses, and the arithmetic of budgets."""

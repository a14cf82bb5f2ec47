"""Labeling functions: noisy votes keep, drop or abstain over columns and text, for a label model to weigh."""

from curate.weak.functions.python import ABSTAIN, DROP, KEEP, NOT_ASKED, LabelingFunction, labeling_function

__all__ = ["ABSTAIN", "DROP", "KEEP", "NOT_ASKED", "LabelingFunction", "labeling_function"]

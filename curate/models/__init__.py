"""Estimators that the pipeline trains or uses, and the arithmetic of budgets."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curate.models.label_model import LabelModel

__all__ = ["LabelModel"]


def __getattr__(name: str) -> Any:
    """Import the label model on first use: it brings numba, which most of what imports this package does without."""
    if name == "LabelModel":
        from curate.models.label_model import LabelModel

        return LabelModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""One quality from many noisy signals: labeling functions, judges, human answers, and the label model over them."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curate.weak.model.model import LabelModel

__all__ = ["LabelModel"]


def __getattr__(name: str) -> Any:
    """Import the label model on first use: it brings numba, which most of what imports this package does without."""
    if name == "LabelModel":
        from curate.weak.model.model import LabelModel

        return LabelModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

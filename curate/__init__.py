"""Data-centric curation of pretraining corpora.

>>> import curate
>>> curate.__version__
'0.1.0'
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curate.errors import ConfigError, RunError
    from curate.pipeline import Pipeline
    from curate.runs.run import Run
    from curate.stage import Annotator, Stage

__version__ = "0.1.0"
__all__ = ["Annotator", "ConfigError", "Pipeline", "Run", "RunError", "Stage", "__version__"]

_HOMES = {
    "Annotator": "curate.stage",
    "ConfigError": "curate.errors",
    "Pipeline": "curate.pipeline",
    "Run": "curate.runs.run",
    "RunError": "curate.errors",
    "Stage": "curate.stage",
}


def __getattr__(name: str) -> Any:
    """Import the public classes on first use, so that ``import curate`` stays light."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'curate' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__

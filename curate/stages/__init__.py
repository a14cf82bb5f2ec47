"""One file per method, which has the name of its stage; ``from curate.stages import MinHash`` imports that file alone.

>>> from curate.stages import MinHash
>>> MinHash(bands=20).rows
8
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what `__getattr__` finds, for editors and type checkers
    from curate.classifiers.autotune import Autotune as Autotune
    from curate.classifiers.groups import Group as Group
    from curate.contamination.benchmarks import Benchmark as Benchmark
    from curate.language_models.segmentation import TextForm as TextForm
    from curate.stages.buckets import Buckets as Buckets
    from curate.stages.clean import Clean as Clean
    from curate.stages.clean import LineRules as LineRules
    from curate.stages.cut_contamination import CutContamination as CutContamination
    from curate.stages.decontaminate import Decontaminate as Decontaminate
    from curate.stages.density import Density as Density
    from curate.stages.distill import Distill as Distill
    from curate.stages.dsir import Dsir as Dsir
    from curate.stages.exact import Exact as Exact
    from curate.stages.extract import Extract as Extract
    from curate.stages.heuristics import Heuristics as Heuristics
    from curate.stages.information import Information as Information
    from curate.stages.judge import Judge as Judge
    from curate.stages.kept import Kept as Kept
    from curate.stages.labels import Labels as Labels
    from curate.stages.langid import LangId as LangId
    from curate.stages.map import Map as Map
    from curate.stages.minhash import MinHash as MinHash
    from curate.stages.mix import Mix as Mix
    from curate.stages.paragraphs import Paragraphs as Paragraphs
    from curate.stages.perplexity import Perplexity as Perplexity
    from curate.stages.quality import Quality as Quality
    from curate.stages.read import Read as Read
    from curate.stages.read import Source as Source
    from curate.stages.rewrite import Rewrite as Rewrite
    from curate.stages.select import Preset as Preset
    from curate.stages.select import Rule as Rule
    from curate.stages.select import Select as Select
    from curate.stages.shards import Shards as Shards
    from curate.stages.signatures import Signatures as Signatures
    from curate.stages.size import Size as Size
    from curate.stages.stopwords import StopWordCounts as StopWordCounts
    from curate.stages.substring import Substring as Substring
    from curate.stages.text_hash import TextHash as TextHash
    from curate.stages.tokens import Tokens as Tokens
    from curate.stages.train_classifier import TrainClassifier as TrainClassifier
    from curate.stages.train_lm import TrainLm as TrainLm
    from curate.stages.url_hash import UrlHash as UrlHash
    from curate.stages.urls import Urls as Urls
    from curate.stages.weak import Weak as Weak
    from curate.weak.functions.config import Function as Function

_HOMES = {
    "Autotune": "curate.classifiers.autotune",
    "Benchmark": "curate.contamination.benchmarks",
    "Function": "curate.weak.functions.config",
    "Group": "curate.classifiers.groups",
    "LineRules": "curate.stages.clean",
    "Preset": "curate.stages.select",
    "Rule": "curate.stages.select",
    "Source": "curate.stages.read",
    "StopWordCounts": "curate.stages.stopwords",
    "TextForm": "curate.language_models.segmentation",
}
"""Modules of the models that are values of stages' fields, and of stages whose class has another name than the file."""


def __getattr__(name: str) -> Any:
    """A stage's class, found by its name: `MinHash` is in ``minhash.py``, `TrainLm` in ``train_lm.py``."""
    modules = (f"{__name__}.{module.name}" for module in iter_modules(__path__) if _is_named(module.name, name))
    home = _HOMES.get(name) or next(modules, None)
    if home is None or not hasattr(import_module(home), name):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)


def _is_named(module: str, name: str) -> bool:
    return module.replace("_", "") == name.lower() and name[:1].isupper()

"""Sections of the report: each module here defines one, as a value named ``SECTION``."""

import importlib
import pkgutil
from typing import Any

from curate.report.section import Section


def all_sections() -> tuple[Section[Any], ...]:
    """Import the modules of this package, and return their sections."""
    names = [module.name for module in pkgutil.iter_modules(__path__, f"{__name__}.")]
    return tuple(importlib.import_module(name).SECTION for name in names)

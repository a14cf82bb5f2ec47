"""The engines that every engine test runs on."""

import logging
from collections.abc import Iterator

import pytest

from curate.engine.base import Engine
from curate.engine.local import LocalEngine

logging.getLogger("curate").setLevel(logging.INFO)


@pytest.fixture(scope="session")
def ray_engine() -> Iterator[Engine]:
    from curate.engine.ray import RayEngine

    engine = RayEngine(workers=2)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def local_engine() -> Iterator[Engine]:
    engine = LocalEngine(workers=2)
    yield engine
    engine.close()


@pytest.fixture(params=["inline", "local", "ray"])
def engine(request: pytest.FixtureRequest) -> Engine:
    return LocalEngine(workers=0) if request.param == "inline" else request.getfixturevalue(f"{request.param}_engine")

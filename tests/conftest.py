"""Fixtures shared by all tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from curate.engine.base import Engine
from tests.engine.engines import Engines, StandingEngine
from tests.examples import USUAL
from tests.runs import write_corpus

# Neither that a kernel compiles when it is first called nor that the machine is busy is the fault of an example.
TIMELESS = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("repeatable", max_examples=USUAL, derandomize=True, **TIMELESS)
settings.register_profile("fuzz", max_examples=10 * USUAL, print_blob=True, **TIMELESS)
settings.load_profile("repeatable")  # `make fuzz` loads the other one by --hypothesis-profile

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a file's content after its parameter: gzip writes the time, and all workers must name a test alike."""
    return argname if isinstance(val, bytes) and len(val) > 16 else None


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real corpora that lies beside the checkout in CI."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the corpora of ../shared/data, which lie beside the checkout in CI only")
    return SHARED_DATA


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small corpus of `tests.runs`, for whole runs."""
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder)
    return folder


@pytest.fixture(scope="session")
def engines() -> Iterator[Engines]:
    """Local engines by their number of workers, each started when it is first asked for."""
    started: dict[int, StandingEngine] = {}

    def engine(workers: int) -> StandingEngine:
        return started.setdefault(workers, StandingEngine(workers))

    yield engine
    for each in started.values():
        each.end()


@pytest.fixture(scope="session")
def ray_engine() -> Iterator[Engine]:
    """Ray on this machine, started once."""
    from curate.engine.ray import RayEngine

    engine = RayEngine(workers=2)
    yield engine
    engine.close()


@pytest.fixture(params=["inline", "local", "ray"])
def engine(request: pytest.FixtureRequest, engines: Engines) -> Engine:
    """Every engine in turn."""
    return request.getfixturevalue("ray_engine") if request.param == "ray" else engines(2 * (request.param == "local"))

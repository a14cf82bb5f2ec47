"""Files of fastText (Joulin et al. 2016, arXiv 1607.01759): trained to the same bytes each time, and opened.

The library fills the first tenth of its input matrix with seeded random numbers when it has one thread, and leaves the
rest as the memory allocator hands it out: garbage from earlier use of the process, now and then NaN. Training runs
therefore in a process of its own whose allocator (glibc's, by ``MALLOC_PERTURB_``) hands out zeros.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from curate import storage
from curate.classifiers.linear import LABEL, LinearModel, linear
from curate.errors import RunError
from curate.io import pretrained

MOST_LABELS = 16  # of a model that the kernel is asked for: its weights have a column for each
ROWS = 1 << 16  # multiplied at a time
ZEROS = "255"  # glibc fills fresh memory with the complement of this byte

_TRAIN = """
import json, sys
import fasttext
fasttext.FastText.eprint = lambda *_: None
given = json.load(sys.stdin)
model = fasttext.train_supervised(input=given["lines"], thread=1, verbose=0, **given["parameters"])
if given["quantize"]:
    model.quantize(input=given["lines"], thread=1, verbose=0)
model.save_model(given["model"])
"""


class DivergedError(RunError):
    """Training ran into numbers that are none; with these settings it always does."""


def train(lines: Path, model: Path, parameters: dict[str, Any], *, quantize: bool) -> None:
    """Train on a file with a label and a line per document; the same file and parameters give the same bytes.

    Raises
    ------
    RunError
        fastText failed; the message says with what. `DivergedError` if the weights grew beyond all bounds.
    """
    given = {"lines": str(lines), "model": str(model), "parameters": parameters, "quantize": quantize}
    done = subprocess.run(
        [sys.executable, "-c", _TRAIN],
        input=orjson.dumps(given),
        env={**os.environ, "MALLOC_PERTURB_": ZEROS},
        capture_output=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit status {done.returncode}"]
        if "NaN" in said[-1]:
            raise DivergedError(f"fastText could not train: {said[-1]}; a lower `lr` may help")
        raise RunError(f"fastText could not train: {said[-1]}")


def as_linear(model: Any) -> LinearModel | None:
    """A model of the library for the kernel of `curate.classifiers.linear`, where it is one that the kernel knows."""
    given, labels = model.f.getArgs(), model.get_labels()
    plain = given.maxn == 0 and given.loss.name == "softmax" and len(labels) <= MOST_LABELS
    if model.is_quantized() or not plain:
        return None
    rows, output = np.asarray(model.f.getInputMatrix()), np.asarray(model.f.getOutputMatrix())
    weights = np.empty((len(rows), len(labels)), np.float32)
    for start in range(0, len(rows), ROWS):
        weights[start : start + ROWS] = rows[start : start + ROWS].astype(np.float64) @ output.T.astype(np.float64)
    return linear(weights, model.get_words(), LABEL, given.wordNgrams, given.bucket)


def load(path: str) -> Any:
    """The model at `path`; fastText reads local files alone, so one from elsewhere is copied first."""
    if storage.is_local(path):
        return pretrained.load_fasttext(path)
    fs, inner = storage.filesystem(path)
    with tempfile.TemporaryDirectory() as folder:
        copy = f"{folder}/{hashlib.sha256(path.encode()).hexdigest()[:8]}.bin"
        fs.get_file(inner, copy)
        return pretrained.load_fasttext(copy)

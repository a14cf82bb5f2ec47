"""Reproducible training and loading of fastText models (Joulin et al. 2016, arXiv 1607.01759).

With one thread, fastText fills only the first tenth of its input matrix with seeded random numbers. The rest keeps the
content of the allocated memory: data from earlier use of the process, sometimes NaN. So training runs in a separate
process whose allocator (glibc's, with ``MALLOC_PERTURB_``) returns zeroed memory.
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

MOST_LABELS = 16  # maximum number of labels of a model for the kernel, whose weights have a column per label
ROWS = 1 << 16  # rows of the input matrix that are multiplied together
ZEROS = "255"  # glibc fills fresh memory with the complement of this byte

_TRAIN = """
import json, sys
import fasttext
fasttext.FastText.eprint = lambda *_: None
request = json.load(sys.stdin)
model = fasttext.train_supervised(input=request["lines"], thread=1, verbose=0, **request["parameters"])
if request["quantize"]:
    model.quantize(input=request["lines"], thread=1, verbose=0)
model.save_model(request["model"])
"""


class DivergedError(RunError):
    """Training diverged to NaN. It always does with the same lines and settings."""


def train(lines: Path, model: Path, parameters: dict[str, Any], *, quantize: bool) -> None:
    """Train a model and write it. The same lines and parameters give the same bytes.

    Parameters
    ----------
    lines
        File with a label and the line of a document in each line.
    model
        File to write.
    parameters
        Settings under fastText's names.
    quantize
        Whether to compress the model.

    Raises
    ------
    RunError
        If fastText fails; the message contains fastText's. `DivergedError` if training diverges to NaN.
    """
    request = {"lines": str(lines), "model": str(model), "parameters": parameters, "quantize": quantize}
    process = subprocess.run(
        [sys.executable, "-c", _TRAIN],
        input=orjson.dumps(request),
        env={**os.environ, "MALLOC_PERTURB_": ZEROS},
        capture_output=True,
        check=False,
    )
    if process.returncode:
        error_lines = process.stderr.decode(errors="replace").strip().splitlines() or [
            f"exit status {process.returncode}"
        ]
        if "NaN" in error_lines[-1]:
            raise DivergedError(f"fastText could not train: {error_lines[-1]}; try a lower `lr`")
        raise RunError(f"fastText could not train: {error_lines[-1]}")


def as_linear(model: Any) -> LinearModel | None:
    """Convert a fastText model for the kernel of `curate.classifiers.linear`; None if it does not support the model."""
    arguments, labels = model.f.getArgs(), model.get_labels()
    plain = arguments.maxn == 0 and arguments.loss.name == "softmax" and len(labels) <= MOST_LABELS
    if model.is_quantized() or not plain:
        return None
    rows, output = np.asarray(model.f.getInputMatrix()), np.asarray(model.f.getOutputMatrix())
    weights = np.empty((len(rows), len(labels)), np.float32)
    for start in range(0, len(rows), ROWS):
        weights[start : start + ROWS] = rows[start : start + ROWS].astype(np.float64) @ output.T.astype(np.float64)
    return linear(weights, model.get_words(), LABEL, arguments.wordNgrams, arguments.bucket)


def load(path: str) -> Any:
    """Load the model at `path`. A remote file is copied first, because fastText only reads local files."""
    if storage.is_local(path):
        return pretrained.load_fasttext(path)
    fs, inner = storage.filesystem(path)
    with tempfile.TemporaryDirectory() as folder:
        copy = f"{folder}/{hashlib.sha256(path.encode()).hexdigest()[:8]}.bin"
        fs.get_file(inner, copy)
        return pretrained.load_fasttext(copy)

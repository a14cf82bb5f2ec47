"""Train an n-gram model on the token ids of all shards, with the built-in estimator or with lmplz."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from curate import storage
from curate.errors import RunError
from curate.language_models import arpa
from curate.language_models.kneser_ney import EOS, EstimatedModel, estimate
from curate.language_models.ngram import NgramModel, NgramTable, build
from curate.language_models.vocabulary import Vocabulary

FOLDER = "CURATE_KENLM"
"""Environment variable with the folder that holds lmplz and build_binary, as ``scripts/build_kenlm.sh`` writes it."""


class Collected(NamedTuple):
    """Sentences as token ids of a vocabulary, concatenated, each between ``<s>`` and ``</s>``."""

    ids: NDArray[np.int32]
    words: list[str]
    hashes: NDArray[np.uint64]


def find_tool(name: str) -> str | None:
    """Return the path of ``lmplz`` or ``build_binary``: in the folder of `FOLDER` if that is set, else on the PATH."""
    folder = os.environ.get(FOLDER)
    return shutil.which(name, path=folder) if folder else shutil.which(name)


def missing_tool(name: str) -> str:
    """Return how to install a missing tool."""
    return f"build it with scripts/build_kenlm.sh FOLDER and set {FOLDER}=FOLDER, or put {name} on the PATH"


def save_collected(file: BinaryIO, groups: Mapping[str, Collected]) -> None:
    """Write the sentences of a shard, by group, as an ``npz`` archive."""
    arrays: dict[str, NDArray[Any]] = {}
    for group, collected in groups.items():
        arrays[f"{group}/ids"] = collected.ids
        arrays[f"{group}/words"] = np.frombuffer("\n".join(collected.words).encode(), np.uint8)
        arrays[f"{group}/hashes"] = collected.hashes
    np.savez(file, **arrays)  # type: ignore[arg-type]


def merge_collected(paths: Sequence[str], group: str) -> Collected:
    """Concatenate the sentences of all shards, with ids of one vocabulary (words in order of first appearance)."""
    vocabulary = Vocabulary()
    parts = [np.empty(0, np.int32)]
    for path in paths:
        fs, inner = storage.filesystem(path)
        with fs.open(inner, "rb") as file, np.load(cast(Any, file)) as arrays:
            if f"{group}/ids" not in arrays:
                continue
            words = arrays[f"{group}/words"].tobytes().decode().split("\n")
            ids = vocabulary.add(arrays[f"{group}/hashes"], lambda chosen, w=words: [w[i] for i in chosen.tolist()])
            parts.append(ids[arrays[f"{group}/ids"]])
    return Collected(np.concatenate(parts), vocabulary.words, vocabulary.hashes)


def train(
    text: Collected, meta: Mapping[str, Any], order: int, prune: Sequence[int], *, fallback: bool, arpa_path: str | None
) -> NgramModel:
    """Estimate a model.

    Parameters
    ----------
    text
        Sentences of the training text.
    meta
        Metadata that the model stores, in addition to counts and discounts.
    order, prune, fallback
        See `curate.language_models.kneser_ney.estimate`.
    arpa_path
        File to write the model to in the ARPA format, or None.

    Raises
    ------
    RunError
        If no model can be estimated from the text.
    """
    try:
        model = estimate(text.ids, len(text.words), order, prune, fallback=fallback)
    except ValueError as error:
        raise RunError(f"cannot estimate a language model: {error}") from None
    if arpa_path:
        arpa.write(arpa_path, model, text.ids, text.words)
    facts = {
        "ngrams": [len(ngrams.ends) for ngrams in model.orders],
        "ngrams_before_pruning": model.counted,
        "discounts": [[round(float(d), 6) for d in row] for row in model.discounts],
        "fallback_discounts": model.fallback,
        **counts_of(text),
    }
    return build({**meta, **facts}, text.words, text.hashes, tables_of(model, text.ids))


def counts_of(text: Collected) -> dict[str, int]:
    """Count the sentences, the tokens (without ``</s>``) and the words of the vocabulary."""
    sentences = int(np.count_nonzero(text.ids == EOS))
    return {"sentences": sentences, "tokens": len(text.ids) - 2 * sentences, "vocabulary": len(text.words)}


def tables_of(model: EstimatedModel, ids: NDArray[np.int32]) -> list[NgramTable]:
    """Convert the n-grams of an estimate to the input of `curate.language_models.ngram.build`."""
    return [
        NgramTable(n.ends if back == 0 else ids[n.ends - back], n.parents, n.log10_prob, n.log10_backoff)
        for back, n in enumerate(model.orders)
    ]


def train_with_lmplz(
    text: Collected,
    meta: Mapping[str, Any],
    order: int,
    prune: Sequence[int],
    *,
    fallback: bool,
    arpa_path: str | None,
) -> NgramModel:
    """Estimate a model with kenlm's lmplz; parameters as for `train`.

    Raises
    ------
    RunError
        If lmplz is missing or fails.
    """
    program = find_tool("lmplz")
    if program is None:
        raise RunError(f"lmplz was not found; {missing_tool('lmplz')}")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "text").write_bytes(b"".join(_sentences(text)))
        command = [program, "-o", str(order), "--text", f"{folder}/text", "--arpa", f"{folder}/arpa", "-T", folder]
        command += ["-S", "20%", "--prune", *map(str, prune or [0])]
        command += ["--discount_fallback"] if fallback else []
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        if process.returncode:
            raise RunError(f"lmplz failed: {' '.join(process.stderr.strip().splitlines()[-2:])}")
        model = arpa.read(f"{folder}/arpa", {**meta, **counts_of(text)})
        if arpa_path:
            with storage.replacing(arpa_path) as file:
                file.write(Path(folder, "arpa").read_bytes())
    return model


def _sentences(text: Collected) -> Iterator[bytes]:
    """Spell the sentences for lmplz, one per line, 2^20 tokens at a time."""
    spellings = np.array([f"{word} ".encode() for word in text.words], object)
    spellings[1], spellings[EOS] = b"", b"\n"
    for start in range(0, len(text.ids), 1 << 20):
        yield b"".join(spellings[text.ids[start : start + (1 << 20)]])


def to_binary(arpa_path: str, path: str) -> None:
    """Convert a model from the ARPA format to a binary file of kenlm, with kenlm's build_binary.

    Raises
    ------
    RunError
        If build_binary is missing or fails.
    """
    program = find_tool("build_binary")
    if program is None:
        raise RunError(f"build_binary was not found; {missing_tool('build_binary')}")
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.run([program, arpa_path, f"{folder}/binary"], capture_output=True, text=True, check=False)
        if process.returncode:
            raise RunError(f"build_binary failed: {' '.join(process.stderr.strip().splitlines()[-2:])}")
        with storage.replacing(path) as file:
            file.write(Path(folder, "binary").read_bytes())

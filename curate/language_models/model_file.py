"""Files of n-gram models: a header of JSON, and arrays that are mapped into memory where they lie."""

import mmap
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
import orjson
from numpy.typing import NDArray

MAGIC = b"curate n-gram model 2\n"


def map_arrays(path: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Map the arrays of a local file into memory; return what its header says, and the arrays.

    Raises
    ------
    ValueError
        The file is not such a model.
    """
    with open(path, "rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise ValueError(f"{path} is not a language model of curate (it does not start with {MAGIC.decode()!r})")
        size = int.from_bytes(file.read(8), "little")
        header = orjson.loads(file.read(size))
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    arrays = {}
    for name, (dtype, shape, start) in header["arrays"].items():
        count = int(np.prod(shape))
        arrays[name] = np.frombuffer(mapped, dtype, count, start).reshape(shape)
    return header["meta"], arrays


def write_arrays(file: BinaryIO, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write the magic bytes, the length of the header, the header, and the arrays at multiples of 64 bytes."""
    places: dict[str, Any] = {}
    for with_positions in (False, True):  # positions lengthen the header, so the second pass reserves space for them
        reserved = len(_header(meta, places)) + 20 * len(arrays) if with_positions else 0
        start = _aligned(len(MAGIC) + 8 + reserved)
        for name, array in arrays.items():
            places[name] = (array.dtype.str, array.shape, start)
            start = _aligned(start + array.nbytes)
    header = _header(meta, places)
    first = min(place[2] for place in places.values())
    header += b" " * (first - len(MAGIC) - 8 - len(header))
    file.write(MAGIC + len(header).to_bytes(8, "little") + header)
    for array in arrays.values():
        file.write(np.ascontiguousarray(array).data)
        file.write(bytes(_aligned(array.nbytes) - array.nbytes))


def _header(meta: Mapping[str, Any], places: Mapping[str, Any]) -> bytes:
    return orjson.dumps({"meta": meta, "arrays": places}, option=orjson.OPT_SORT_KEYS)


def _aligned(size: int) -> int:
    return (size + 63) // 64 * 64

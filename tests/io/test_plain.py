"""Columns that every reader knows."""

import pyarrow as pa

from curate.io.plain import plain_columns


def test_ids_are_digits_and_dictionaries_values() -> None:
    ids = pa.chunked_array([pa.array([b"0" * 16, None], pa.binary(16)), pa.array([bytes(range(16))], pa.binary(16))])
    names = pa.array(["a", None, "a"]).dictionary_encode()
    plain = plain_columns(pa.table({"id": ids, "name": names, "number": [1, 2, 3]}))
    assert plain.to_pydict() == {
        "id": ["30" * 16, None, bytes(range(16)).hex()],
        "name": ["a", None, "a"],
        "number": [1, 2, 3],
    }
    assert plain.schema.types == [pa.string(), pa.string(), pa.int64()]

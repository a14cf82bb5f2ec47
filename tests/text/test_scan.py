"""The scan of a batch; `tests.signals` holds what it counts against the definitions."""

import numpy as np

from curate.text.scan import scan


def test_positions_of_lines() -> None:
    text = "\ufeff First line \r\n\n \u200b\n  second\x01 ".encode()
    _, lines = scan(np.frombuffer(text, np.uint8), np.array([0, len(text)]))
    spans = [text[start:end].decode() for start, end in zip(lines.starts, lines.ends, strict=True)]
    assert spans == ["First line", "second"]


def test_a_slice_of_a_batch_is_scanned_where_it_lies() -> None:
    data = np.frombuffer(b"skipped ## one\n# two" + b"three", np.uint8)
    counts, lines = scan(data, np.array([9, 20, 25]))
    assert counts.hashes.tolist() == [2, 0]
    assert lines.offsets.tolist() == [0, 2, 3]


def test_no_documents() -> None:
    counts, lines = scan(np.empty(0, np.uint8), np.zeros(1, np.int64))
    assert counts.words.shape == (0,)
    assert lines.offsets.tolist() == [0]

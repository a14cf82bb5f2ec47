import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from curate.text.hashing import hash64, normalized_hash, raw_hash, words_hash
from curate.text.words import segment

documents = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), min_size=1, max_size=6)


def buffers(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    encoded = [text.encode() for text in texts]
    offsets = np.concatenate(([0], np.cumsum([len(text) for text in encoded]))).astype(np.int64)
    return np.frombuffer(b"".join(encoded), np.uint8), offsets


def normalized(*texts: str) -> list[tuple[int, int]]:
    return [(high, low) for high, low in normalized_hash(*buffers(list(texts))).tolist()]


def make_ids(count: int) -> np.ndarray:
    """Ids that differ in few bits, the hardest case for a hash."""
    ids = np.zeros((count, 16), np.uint8)
    ids[:, 4:8] = np.arange(count, dtype=np.uint32).view(np.uint8).reshape(-1, 4)
    return ids


@given(documents)
def test_raw_hash_is_xxh3_128(texts: list[str]):
    for text, (high, low) in zip(texts, raw_hash(*buffers(texts)).tolist(), strict=True):
        assert high << 64 | low == xxhash.xxh3_128_intdigest(text.encode())


def test_raw_hash_of_no_documents():
    assert raw_hash(*buffers([])).shape == (0, 2)


def test_layout_punctuation_and_case_do_not_count():
    first, *others = normalized("To be, or not to be", "to be or not to be", "  TO\nBE...or (not) «to» be!\t")
    assert others == [first, first]


@pytest.mark.parametrize("other", ["b a", "a b b", "ab", "a", "a b c", "á b", "a 8", ""])
def test_words_and_their_order_count(other: str):
    first, second = normalized("a b", other)
    assert first[0] != second[0]
    assert first[1] != second[1]


def test_documents_without_words_are_compared_by_their_symbols():
    stars, spaced_stars, dashes, hearts, empty, blank = normalized("***", " *\n* * ", "---", "♥♥♥", "", " \n\t")
    assert stars == spaced_stars
    assert empty == blank
    assert len({stars, dashes, hearts, empty}) == 4


@given(documents)
def test_equal_if_and_only_if_the_words_are(texts: list[str]):
    data, offsets = buffers(texts)
    words = segment(data, offsets)
    keys = []
    for i, text in enumerate(texts):
        hashes = words.hashes[words.offsets[i] : words.offsets[i + 1]].tolist()
        keys.append(tuple(hashes) if hashes else "".join(text.split()))
    rows = [tuple(row) for row in normalized_hash(data, offsets, words).tolist()]
    assert len(set(rows)) == len(set(keys)) == len(set(zip(rows, keys, strict=True)))
    assert rows == normalized(*texts)


def test_words_alone_are_hashed_as_in_normalized_text():
    texts = ["To be", "to -- BE!", "***", "", "be to"]
    data, offsets = buffers(texts)
    alone = words_hash(segment(data, offsets)).tolist()
    assert [alone[i] for i in (0, 1, 4)] == [normalized_hash(data, offsets).tolist()[i] for i in (0, 1, 4)]
    assert alone[2] == alone[3]  # without words; `normalized_hash` tells their symbols apart
    assert len({tuple(halves) for halves in alone}) == 3


def test_the_halves_of_normalized_hash_are_independent():
    halves = normalized_hash(*buffers([f"document {i}" for i in range(20_000)]))
    assert len(np.unique(halves)) == 40_000
    different = np.unpackbits((halves[:, 0] ^ halves[:, 1]).view(np.uint8))
    assert abs(different.mean() - 0.5) < 4.5 * 0.5 / np.sqrt(len(different))


def test_hash64_is_uniform():
    keys = hash64(7, "mix", make_ids(200_000))
    for shift in (0, 24, 56):
        counts = np.bincount((keys >> np.uint64(shift)).astype(np.uint8), minlength=256)
        chi_square = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
        assert abs(chi_square - 255) < 4.5 * np.sqrt(2 * 255)


@pytest.mark.parametrize("other", [(8, "mix"), (7, "order"), (7, 1), (7, "1"), (71, "")])
def test_hash64_with_another_key_is_an_independent_draw(other: tuple[int, str | int]):
    ids = make_ids(100_000)
    chosen = hash64(7, "mix", ids) < np.uint64(1 << 62)
    also = hash64(*other, ids) < np.uint64(1 << 62)
    # Of the quarter that one key chooses, another chooses a quarter.
    assert abs(also[chosen].mean() - 0.25) < 4.5 * np.sqrt(0.25 * 0.75 / chosen.sum())


def test_hash64_tells_text_from_numbers():
    assert not (hash64(7, 1, make_ids(4)) == hash64(7, "1", make_ids(4))).any()


def test_hash64_reads_every_byte_of_the_id():
    ids = np.zeros((17, 16), np.uint8)
    ids[1:][np.arange(16), np.arange(16)] = 1
    assert len(np.unique(hash64(0, 0, ids))) == 17


def test_hashes_are_fixed_for_ever():
    """Which documents a sample holds, and which are the same, depends on these values."""
    assert normalized_hash(*buffers(["To be, or not to be"])).tolist() == [[0xF302AE78007BF05A, 0x2552EEBD3601C437]]
    assert hash64(0, "mix", make_ids(2)).tolist() == [0xBCA9165FF11C5937, 0xA2C83B7A324F6361]


def test_hash64_of_a_strided_view_equals_that_of_a_copy():
    wide = np.arange(20 * 32, dtype=np.uint64).view(np.uint8)[: 20 * 32].reshape(20, 32)
    assert np.array_equal(hash64(0, 0, wide[:, :16]), hash64(0, 0, wide[:, :16].copy()))


@pytest.mark.parametrize("ids", [np.zeros((3, 8), np.uint8), np.zeros(16, np.uint8), np.zeros((3, 16), np.int64)])
def test_hash64_refuses_other_ids(ids: np.ndarray):
    with pytest.raises(ValueError, match="uint8 of shape"):
        hash64(0, 0, ids)

"""Tokenizers: what is trained here gives texts back, and the same file each time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from curate.text.tokenizer import parse, train
from tests.tokenizers import SAMPLE


@pytest.mark.parametrize("broken", ["", "{}", "not json", '{"version": "1.0", "model": {"type": "BPE"}}'])
def test_what_is_no_tokenizer_is_named(broken: str) -> None:
    with pytest.raises(ValueError, match=r"not a tokenizer\.json"):
        parse(broken)


def test_trained_tokenizer_gives_back_the_text() -> None:
    tokenizer = Tokenizer.from_str(train(SAMPLE * 3, 600))
    assert tokenizer.get_vocab_size() == 600
    assert tokenizer.token_to_id("<|endoftext|>") == 0
    assert [tokenizer.decode(tokenizer.encode(text).ids) for text in SAMPLE] == SAMPLE
    assert parse(train([], 600)).get_vocab_size() == 257


@pytest.mark.parametrize("threads", ["1", "4"])
def test_training_gives_the_same_bytes_in_every_process(threads: str) -> None:
    """Hash seeds, number of threads and order of the texts differ; the file does not."""
    program = (
        "import sys; from tests.tokenizers import SAMPLE; from curate.text.tokenizer import train; "
        f"sys.stdout.buffer.write(train(SAMPLE[::{1 if threads == '1' else -1}] * 3, 900).encode())"
    )
    environment = os.environ | {"RAYON_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": str(threads != "1").lower()}
    root = Path(__file__).parents[2]
    result = subprocess.run([sys.executable, "-c", program], env=environment, cwd=root, capture_output=True, check=True)
    assert result.stdout.decode() == train(SAMPLE * 3, 900)

"""Training and loading of byte-level BPE tokenizers in the format ``tokenizer.json`` of Hugging Face `tokenizers`."""

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

END_OF_TEXT = "<|endoftext|>"

GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2_PATTERN = LLAMA3_PATTERN.replace(r"\p{N}{1,3}", r"\p{N}")


def train(texts: Iterable[str], vocab_size: int) -> str:
    """Train a byte-level BPE tokenizer with the pattern of Llama 3, and return its ``tokenizer.json`` as text.

    The same texts give the same result, in any order and on any number of threads.

    Parameters
    ----------
    texts
        Training texts.
    vocab_size
        Number of tokens, including the 256 bytes and ``<|endoftext|>`` (id 0). The tokenizer has fewer if the texts
        contain no more pairs to merge.

    Examples
    --------
    >>> tokenizer = parse(train(["low lower lowest"] * 8, vocab_size=261))
    >>> [len(tokenizer.encode(text)) for text in ("low", " lower", "xyz")]
    [1, 2, 3]
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(  # type: ignore[assignment]
        [
            pre_tokenizers.Split(Regex(LLAMA3_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer.to_str(pretty=True)


def parse(serialized: str) -> Tokenizer:
    """Load a ``tokenizer.json``. The tokenizer encodes texts in full, and special tokens in them as ordinary text.

    Raises
    ------
    ValueError
        If `serialized` is not a ``tokenizer.json``.
    """
    try:
        tokenizer = Tokenizer.from_str(serialized)
    except Exception as error:  # the library raises nothing more specific
        raise ValueError(f"not a tokenizer.json: {error}") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer

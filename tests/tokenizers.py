"""Tokenizers to test with, trained on a few lines of many scripts."""

from functools import cache

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from curate.text.tokenizer import GPT2_PATTERN, LLAMA3_PATTERN, QWEN2_PATTERN

SAMPLE = [
    "It's what they've done, isn't it? We'll see; I'm sure HE'S there, and THEY'LL come at 10:45 on 2024-11-23.\n\n",
    "def count(self, text: str) -> int:\n    return sum(len(token) for token in text.split())  # 1234567890\n",
    "Größe und Höhe der Straße; façade, naïve, Ærøskøbing, Łódź.\r\n\r\n\tEingerückt um 3,14 %.\n",
    "Съешь же ещё этих мягких французских булок, да выпей чаю. 12 345,67 ₽\n",
    "這是一個測試，我們用它來計算詞元的數量。今天天氣很好！東京とカタカナとひらがな。\n",
    "هذا نص عربي قصير للاختبار، وفيه أرقام ١٢٣٤٥ وعلامات ترقيم؟\n",
    "यह एक छोटा सा हिंदी वाक्य है जिसमें संयुक्ताक्षर हैं। १२३\n",
    "ภาษาไทยเขียนติดกันโดยไม่มีช่องว่างระหว่างคำ\n",
    "👩‍👩‍👧 🇩🇪 ½ ² Ⅷ ﬁ ſ K \u0301\u0300 a\u0301 \u3000full\u2028line\u00a0no-break\u200bzero\ufeff",
]
PATTERNS = {"gpt2": GPT2_PATTERN, "llama3": LLAMA3_PATTERN, "qwen2": QWEN2_PATTERN}


@cache
def made(pattern: str, vocab_size: int = 700) -> str:
    """A trained tokenizer.json."""
    tokenizer = Tokenizer(models.BPE())
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern == "gpt2")
    split = pre_tokenizers.Split(Regex(PATTERNS[pattern]), "isolated")
    tokenizer.pre_tokenizer = level if pattern == "gpt2" else pre_tokenizers.Sequence([split, level])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(SAMPLE * 3, trainer)
    return tokenizer.to_str()

"""What datatrove, dolma and NeMo Curator say of documents; runs in their own environments, without curate.

    VENV/bin/python scripts/bench/support/peer_signals.py datatrove|dolma|nemo IN.jsonl OUT.jsonl
    VENV/bin/python scripts/bench/support/peer_signals.py --time datatrove|dolma|nemo IN.jsonl OUT.json

IN has one JSON object per line with ``id`` and ``text``. The first form writes the rules that drop each document; each
is tried by itself, so that none hides another, and words are tokenized once per document for all of datatrove's rules.
The second writes processor seconds, with everything as the tool does it.
"""

# pyright: reportMissingImports=false
import functools
import json
import sys
import time


def datatrove_rules():
    from datatrove.data import Document
    from datatrove.pipeline.filters import (
        C4ParagraphFilter,
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
        c4_filters,
        fineweb_quality_filter,
        gopher_quality_filter,
        gopher_repetition_filter,
    )

    for module in (gopher_quality_filter, gopher_repetition_filter, fineweb_quality_filter):
        module.split_into_words = functools.lru_cache(4)(module.split_into_words)
    c4_filters.split_into_sentences = functools.lru_cache(4)(c4_filters.split_into_sentences)
    names = (
        *("min_doc_words", "max_doc_words", "min_avg_word_length", "max_avg_word_length", "max_symbol_word_ratio"),
        *("max_bullet_lines_ratio", "max_ellipsis_lines_ratio", "max_non_alpha_words_ratio", "min_stop_words"),
    )
    quality = dict.fromkeys(names)
    repetition = dict.fromkeys(("dup_line_frac", "dup_para_frac", "dup_line_char_frac", "dup_para_char_frac"))
    repetition |= {"top_n_grams": (), "dup_n_grams": ()}
    off = {"line_punct_thr": -1, "short_line_thr": 2, "char_duplicates_ratio": 2, "new_line_ratio": 1e9}
    page = {"filter_no_terminal_punct": False, "min_num_sentences": -1, "min_words_per_line": 0, "max_word_length": -1}
    page |= {"filter_lorem_ipsum": False, "filter_javascript": False, "filter_curly_bracket": False}
    page |= {"filter_policy": False}
    article = {"min_num_sentences": 3, "min_words_per_line": 5}
    filters = {
        "gopher words < 50": GopherQualityFilter(**quality | {"min_doc_words": 50}),
        "gopher words > 100000": GopherQualityFilter(**quality | {"max_doc_words": 100_000}),
        "gopher mean word length < 3": GopherQualityFilter(**quality | {"min_avg_word_length": 3}),
        "gopher mean word length > 10": GopherQualityFilter(**quality | {"max_avg_word_length": 10}),
        "gopher symbols > 0.1": GopherQualityFilter(**quality | {"max_symbol_word_ratio": 0.1}),
        "gopher bullet lines > 0.9": GopherQualityFilter(**quality | {"max_bullet_lines_ratio": 0.9}),
        "gopher ellipsis lines > 0.3": GopherQualityFilter(**quality | {"max_ellipsis_lines_ratio": 0.3}),
        "gopher alphabetic words < 0.8": GopherQualityFilter(**quality | {"max_non_alpha_words_ratio": 0.8}),
        "gopher stop words < 2": GopherQualityFilter(**quality | {"min_stop_words": 2}),
        "repeated lines > 0.3": GopherRepetitionFilter(**repetition | {"dup_line_frac": 0.3}),
        "repeated paragraphs > 0.3": GopherRepetitionFilter(**repetition | {"dup_para_frac": 0.3}),
        "repeated line characters > 0.2": GopherRepetitionFilter(**repetition | {"dup_line_char_frac": 0.2}),
        "repeated paragraph characters > 0.2": GopherRepetitionFilter(**repetition | {"dup_para_char_frac": 0.2}),
        "c4 sentences < 3": C4QualityFilter(**article),
        "c4 curly bracket": C4QualityFilter(**page | {"filter_curly_bracket": True}),
        "c4 lorem ipsum": C4QualityFilter(**page | {"filter_lorem_ipsum": True}),
        "c4 long lines < 3": C4ParagraphFilter(),
        "fineweb terminal lines < 0.12": FineWebQualityFilter(**off | {"line_punct_thr": 0.12}),
        "fineweb short lines > 0.67": FineWebQualityFilter(**off | {"short_line_thr": 0.67}),
        "fineweb repeated line characters > 0.01": FineWebQualityFilter(**off | {"char_duplicates_ratio": 0.01}),
        "fineweb newlines per word > 0.3": FineWebQualityFilter(**off | {"new_line_ratio": 0.3}),
    }
    for n, limit in ((2, 0.2), (3, 0.18), (4, 0.16)):
        filters[f"top {n}-gram > {limit}"] = GopherRepetitionFilter(**repetition | {"top_n_grams": ((n, limit),)})
    for n, limit in ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.1)):
        filters[f"repeated {n}-grams > {limit}"] = GopherRepetitionFilter(**repetition | {"dup_n_grams": ((n, limit),)})

    def fired(text):
        found = []
        for rule, one in filters.items():
            try:
                kept = one.filter(Document(text=text, id=""))
            except ZeroDivisionError:  # a document without words
                kept = False
            if (kept if isinstance(kept, bool) else kept[0]) is False:
                found.append(rule)
        return found

    words = functools.partial(gopher_quality_filter.split_into_words, language="eng")
    return fired, words


def dolma_rules():
    from dolma.core.data_types import Document
    from dolma.taggers.c4 import FasterC4Tagger
    from dolma.taggers.gopher import get_attributes

    def fired(text):
        found = get_attributes(text, ignore_empty_lines=True)
        top, dup = (
            dict(found.fraction_of_characters_in_most_common_ngram),
            dict(found.fraction_of_characters_in_duplicate_ngrams),
        )
        spans = [span.type for span in FasterC4Tagger().predict(Document(source="", id="", text=text)).spans]
        rules = {
            "gopher words < 50": found.word_count < 50,
            "gopher words > 100000": found.word_count > 100_000,
            "median word length < 3": found.median_word_length < 3,
            "median word length > 10": found.median_word_length > 10,
            "words with symbols > 0.1": found.symbol_to_word_ratio > 0.1,
            "gopher alphabetic words < 0.8": found.fraction_of_words_with_alpha_character < 0.8,
            "occurrences of stop words < 2": found.required_word_count < 2,
            "gopher bullet lines > 0.9": found.fraction_of_lines_starting_with_bullet_point > 0.9,
            "gopher ellipsis lines > 0.3": found.fraction_of_lines_ending_with_ellipsis > 0.3,
            "copies of lines > 0.3": found.fraction_of_duplicate_lines > 0.3,
            "characters in copies of lines > 0.2": found.fraction_of_characters_in_duplicate_lines > 0.2,
            "c4 curly bracket": "has_curly_brace" in spans,
            "c4 lorem ipsum": "has_lorem_ipsum" in spans,
            "c4 javascript": "has_javascript" in spans,
        }
        for n, limit in ((2, 0.2), (3, 0.18), (4, 0.16)):
            rules[f"top {n}-gram > {limit}"] = top.get(n, 0) > limit
        for n, limit in ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.1)):
            rules[f"repeated {n}-grams > {limit}"] = dup.get(n, 0) > limit
        return [rule for rule, drops in rules.items() if drops]

    return fired, None


def nemo_filters():
    """The filters of ``heuristic_filter_english_pipeline.yaml``, in its order."""
    import importlib
    from pathlib import Path

    import nemo_curator
    import yaml

    path = Path(str(nemo_curator.__file__)).parent / "config/text/heuristic_filter_english_pipeline.yaml"
    found = []
    for stage in yaml.safe_load(path.read_text())["stages"]:
        options = dict(stage.get("filter_obj") or {})
        if options:
            module, _, name = options.pop("_target_").rpartition(".")
            found.append(getattr(importlib.import_module(module), name)(**options))
    return found


def datatrove_seconds(texts):
    from datatrove.data import Document
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )

    filters = [GopherRepetitionFilter(), GopherQualityFilter(), C4QualityFilter(filter_no_terminal_punct=False)]
    filters.append(FineWebQualityFilter())

    def cascade(text):
        document = Document(text=text, id="")
        for one in filters:
            kept = one.filter(document)
            if not (kept if isinstance(kept, bool) else kept[0]):
                return

    return {"Gopher, C4 and FineWeb filters, until one drops": timed(cascade, texts)}


def dolma_seconds(texts):
    from dolma.core.data_types import Document
    from dolma.taggers.c4 import FasterC4Tagger
    from dolma.taggers.gopher import GopherTaggerV2

    taggers = [GopherTaggerV2(), FasterC4Tagger()]
    tag = timed(lambda text: [tagger.predict(Document("", "", text)) for tagger in taggers], texts)
    return {"taggers gopher_v2 and c4_v2": tag}


def nemo_seconds(texts):
    filters = nemo_filters()

    def cascade(text):
        for one in filters:
            try:
                if not one.keep_document(one.score_document(text)):
                    return
            except ZeroDivisionError:  # a document without words
                return

    return {f"{len(filters)} English filters, until one drops": timed(cascade, texts)}


def timed(function, texts):
    for text in texts[:20]:
        function(text)
    start = time.process_time()
    for text in texts:
        function(text)
    return time.process_time() - start


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--time"]
    tool, source, target = arguments
    with open(source, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    if "--time" in sys.argv:
        with open(target, "w") as file:
            timing = {"datatrove": datatrove_seconds, "dolma": dolma_seconds, "nemo": nemo_seconds}[tool]
            json.dump(timing([row["text"] for row in rows]), file)
        return
    if tool == "datatrove":
        from datatrove.utils.text import PUNCTUATION_SET, TERMINAL_PUNCTUATION

        with open(f"{target}.marks", "w", encoding="utf-8") as file:
            json.dump({"punctuation": sorted(PUNCTUATION_SET), "terminal": sorted(TERMINAL_PUNCTUATION)}, file)
    fired, words = {"datatrove": datatrove_rules, "dolma": dolma_rules}[tool]()
    with open(target, "w", encoding="utf-8") as file:
        for row in rows:
            found = {"id": row["id"], "fired": fired(row["text"])}
            file.write(json.dumps(found | ({"words": words(row["text"])} if words else {})) + "\n")


if __name__ == "__main__":
    main()

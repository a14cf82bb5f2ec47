"""The recipes of ``configs/`` run as they stand, on small inputs of the kinds that they name."""

import gzip
import json
import random
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tests.io.archives import http, packed, record
from tests.runs import curate, document
from tests.weak.functions.corpus import texts

CONFIGS = Path(__file__).parents[1] / "configs"
GERMAN = "Das ist ein Text, der nicht auf Englisch ist, und darum bleibt er nicht im Korpus. " * 20


def page(text: str, title: str = "A page") -> bytes:
    paragraphs = "".join(f"<p>{line}</p>" for line in text.splitlines())
    menu = "<nav><a href='/'>Home</a> <a href='/a'>About</a></nav>"
    return (
        f"<html><head><title>{title}</title></head><body>{menu}<article>{paragraphs}</article></body></html>".encode()
    )


def run(config: str, folder: Path, *overrides: str) -> tuple[dict[str, dict], pl.DataFrame]:
    """Manifests by stage, and the largest rung that was written."""
    done = curate("run", CONFIGS / config, f"run.root={folder / 'run'}", *overrides, cwd=folder)
    assert done.returncode == 0, done.stderr
    stages = json.loads((folder / "run" / "run.json").read_text())["stages"]
    manifests = {
        stage["name"]: json.loads((folder / "run" / stage["path"] / "_manifest.json").read_text()) for stage in stages
    }
    shards = next(folder.glob("run/shards-*"))
    return manifests, pl.concat(pl.read_parquet(path) for path in sorted(shards.rglob("*.parquet")))


def accounted(manifests: dict[str, dict]) -> None:
    for name, manifest in manifests.items():
        for source, counts in manifest["flow"].items():
            out = counts["kept"] + sum(counts["dropped"].values()) + sum(counts["quarantined"].values())
            assert counts["in"] == out, (name, source)


def test_web_archives_to_shards(tmp_path: Path) -> None:
    rng = random.Random(1)
    pages = [document(rng, rng.randint(20, 40)) for _ in range(60)]
    pages[7] += "\nWrite to someone@example.com for more about the time and the river."
    records = [record(body=http(page(text)), number=number) for number, text in enumerate(pages)]
    records += [
        record(body=http(page(pages[3])), number=100),  # a copy at another address
        record(body=http(page(pages[4] + "\nOne more line of the page is here.")), number=4),  # visited again
        record(body=http(page(GERMAN)), number=101),
        record(body=http(page("This page is far too short to stay.")), number=102),
        record(body=http(b"\x89PNG", media="image/png"), number=103),
        record("request", body=b"GET / HTTP/1.1\r\n\r\n", number=104),
    ]
    crawl = tmp_path / "data" / "crawl"
    crawl.mkdir(parents=True)
    (crawl / "a.warc.gz").write_bytes(packed(records, "gzip"))
    manifests, kept = run("web.yaml", tmp_path, "tokens.vocab_size=600", "engine.workers=0")
    accounted(manifests)
    assert sum(manifests["read"]["flow"]["crawl"]["dropped"].values()) == 2
    assert manifests["read"]["flow"]["crawl"]["kept"] == 64
    dropped = manifests["select"]["flow"]["crawl"]["dropped"]
    assert dropped["english_code"] == 1
    assert dropped["gopher_words_min"] == 1
    assert dropped["visited"] + dropped["copy"] + dropped["near_copy"] == 2
    assert len(kept) == 60
    assert not kept["text"].str.contains("Home|@|<p>").any()
    assert kept["text"].str.contains("<EMAIL>").sum() == 1
    assert kept["url_domain"].unique().to_list() == ["example.org"]


def test_several_sources_to_one_mixture(tmp_path: Path) -> None:
    rng = random.Random(2)
    data = tmp_path / "data"
    for folder in ("web", "books", "notes", "benchmarks"):
        (data / folder).mkdir(parents=True)
    question = document(rng, 9)
    pages = [document(rng, 30) for _ in range(50)]
    lines = [json.dumps({"id": i, "text": text}) for i, text in enumerate([*pages, pages[0].upper(), GERMAN, question])]
    (data / "web" / "a.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    books = {"isbn": [f"b{i}" for i in range(4)], "body": [document(rng, 300) for _ in range(4)]}
    pq.write_table(pa.table(books), data / "books" / "a.parquet")
    for number in range(8):
        (data / "notes" / f"{number}.txt").write_text(document(rng, 30))
    item = {"question": question, "answer": "river"}
    (data / "benchmarks" / "quiz.jsonl").write_text(json.dumps(item) + "\n")
    small = ("mix.budgets=[4k, 8k]", "mix.validation=0.05", "tokens.vocab_size=600", "engine.workers=0")
    manifests, kept = run("multi_source.yaml", tmp_path, *small)
    accounted(manifests)
    dropped = manifests["select"]["flow"]["web"]["dropped"]
    assert dropped["contaminated"] == 1
    assert dropped["copy"] == 1
    assert set(kept["source"]) == {"web", "books", "notes"}
    assert question not in set(kept["text"])


def test_ccnets_recipe_cuts_each_language_by_its_own_model(tmp_path: Path) -> None:
    rng = random.Random(3)

    def german() -> str:
        return "\n".join(" ".join(rng.choice(GERMAN.split()) for _ in range(14)).capitalize() + "." for _ in range(6))

    crawl, wikipedia = tmp_path / "data" / "crawl", tmp_path / "data" / "wikipedia"
    crawl.mkdir(parents=True)
    wikipedia.mkdir()
    pages = [document(rng, 20) for _ in range(40)] + [german() for _ in range(20)]
    for number, page_ in enumerate(pages):
        pages[number] = f"{page_}\nCopyright {number} by all who wrote this"
    texts = [*pages, "This page is far too short to stay in the corpus."]
    records = [record("conversion", text.encode(), number) for number, text in enumerate(texts)]
    (crawl / "a.wet.gz").write_bytes(packed(records, "gzip"))
    articles = [document(rng, 20) for _ in range(40)] + [german() for _ in range(20)]
    lines = "\n".join(json.dumps({"id": i, "text": text}) for i, text in enumerate(articles))
    (wikipedia / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    small = ("wikipedia_lm.vocab_size=400", "wikipedia_lm.min_bytes=3kB", "tokens.vocab_size=600", "engine.workers=0")
    manifests, kept = run("ccnet.yaml", tmp_path, *small)
    accounted(manifests)
    assert set(manifests["wikipedia_lm"]["models"]) == {"en", "de"}
    assert manifests["paragraphs"]["removed"]["crawl"]["touched"] == 60
    assert not kept["text"].str.contains("Copyright").any()
    assert manifests["select"]["flow"]["crawl"]["dropped"] == {"reference": 0, "short": 1, "language": 0}
    assert manifests["select"]["flow"]["wikipedia"]["kept"] == 0
    counted = kept.group_by("lang_code", "kenlm_bucket").len().sort("lang_code", "kenlm_bucket")
    expected = [("de", "head", 6), ("de", "middle", 6), ("de", "tail", 8)]
    expected += [("en", "head", 12), ("en", "middle", 12), ("en", "tail", 16)]
    assert counted.rows() == expected
    kept = kept.with_columns(pl.col("kenlm_perplexity").cast(pl.Float32))  # as buckets compares
    for (language,), own in kept.group_by("lang_code"):
        low, high = manifests["buckets"]["cuts"][language]
        assert own.filter(kenlm_bucket="head")["kenlm_perplexity"].max() < low
        assert own.filter(kenlm_bucket="tail")["kenlm_perplexity"].min() >= high


def test_many_signals_to_one_quality(tmp_path: Path) -> None:
    rng = random.Random(3)
    for folder in ("web", "reference"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    web = list(texts(120, 4))
    lines = [json.dumps({"id": i, "text": text}) for i, (text, _) in enumerate(web)]
    (tmp_path / "data" / "web" / "a.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    clean = [json.dumps({"text": document(rng, 16)}) for _ in range(40)]
    (tmp_path / "data" / "reference" / "a.jsonl").write_text("\n".join(clean))
    small = ("train_classifier.dim=8", "train_classifier.bucket=500", "tokens.vocab_size=600", "lm.order=3")
    manifests, kept = run("weak.yaml", tmp_path, *small, "mix.validation=0.05", "engine.workers=0")
    accounted(manifests)
    weak = manifests["weak"]["weak"]
    assert weak["model"]["class_balance"] == [0.5, 0.5]
    voting = {row["name"] for row in weak["model"]["functions"] if row["voted"]}
    assert voting > {"gopher_words_min", "rep_dup_lines_max", "surprising", "like_reference", "selling"}
    assert weak["sources"]["reference"]["not_asked"] == manifests["select"]["flow"]["reference"]["kept"] == 40
    good = {text for text, good in web if good}
    left = kept.filter(pl.col("source") == "web")
    before, after = len(good) / len(web), left["text"].is_in(list(good)).mean()
    assert after > before + 0.15
    assert (left["weak_quality"] >= 0.5).all()

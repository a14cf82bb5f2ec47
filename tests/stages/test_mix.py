"""The stage `mix` against a sort of all documents by their hash."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curate.errors import ConfigError
from curate.stage import Known
from curate.stages.mix import Mix
from curate.stages.tokens import Tokens
from curate.table import Table, read_part
from curate.text.hashing import hash64
from tests.engine.engines import Engines
from tests.mixtures import check_resumes, mixed, ready, reordered, rows, texts

COLUMNS = ("id", "source", "keep", "tokens", "kept_bytes", "mix_split", "mix_epochs", "mix_rung")
SOURCES = {"web": texts(900, 1), "books": texts(60, 2, 400), "notes": texts(300, 3, 10)}
KNOWN = Known(pa.schema([]), {"web": 1_000_000, "books": 200_000}, {"tokens": Tokens(name="tokens")})


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return ready(tmp_path_factory.mktemp("mix"), SOURCES)


def order(seed: int, salt: str, documents: list[dict[str, Any]]) -> list[int]:
    ids = np.array([list(document["id"]) for document in documents], np.uint8).reshape(-1, 16)
    hashes = hash64(seed, salt, ids).tolist()
    return sorted(range(len(documents)), key=lambda i: (hashes[i], documents[i]["id"]))


def nearest_prefix(sizes: list[int], wanted: float) -> int:
    return min(range(len(sizes) + 1), key=lambda k: (abs(sum(sizes[:k]) - wanted), k))


def brute_force(documents: list[dict[str, Any]], share: float, targets: list[int], unit: str, seed: int) -> None:
    """Add to each kept document of a source the split and the copies per rung that it should have."""
    kept = [document for document in documents if document["keep"]]
    ordered = [kept[i] for i in order(seed, "validation", kept)]
    wanted = round(share * sum(document[unit] for document in kept))
    held_out = (
        min(max(nearest_prefix([document[unit] for document in ordered], wanted), 1), len(kept) - 1) if share else 0
    )
    for document in ordered[:held_out]:
        document["expected"] = ("validation", [])
    pool = ordered[held_out:]
    available = sum(document[unit] for document in pool)
    copies = {document["id"]: [] for document in pool}
    for target in targets:
        epochs, left = divmod(target, available)
        turn = [pool[i] for i in order(seed, f"mix/{epochs}", pool)]
        taken = nearest_prefix([document[unit] for document in turn], left) if left else 0
        for position, document in enumerate(turn):
            copies[document["id"]].append(epochs + (position < taken))
    for document in pool:
        document["expected"] = ("train" if copies[document["id"]][-1] else None, copies[document["id"]])


@pytest.mark.parametrize(
    ("stage", "unit"),
    [
        (Mix(budgets=["2K", "6K", "max"], weights={"web": 0.6, "books": 0.3, "notes": 0.1}), "tokens"),
        (
            Mix(budgets=["10K", "45K"], weights={"web": 3, "books": 5, "notes": 0.5}, max_epochs=5, validation=0.1),
            "tokens",
        ),
        (Mix(budgets=["max"], weights={"web": 1, "books": 0, "notes": 2}, max_epochs={"notes": 2.5}), "tokens"),
        (Mix(budgets=[30_000, "0.1MB"], unit="bytes", validation=0), "kept_bytes"),
        (Mix(budgets=["max"]), "tokens"),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_every_document_is_where_brute_force_puts_it(
    table: Table, tmp_path: Path, stage: Mix, unit: str, seed: int
) -> None:
    result = mixed(stage, table, tmp_path, seed=seed)
    plan = result.sidecars[-1].manifest["plan"]
    found = rows(result, COLUMNS)
    for source, entry in plan["sources"].items():
        documents = [row for row in found if row["source"] == source]
        share = stage.validation if entry["weight"] else 0
        brute_force(documents, share, [rung["target"] for rung in entry["rungs"]], unit, seed)
        for row in documents:
            split, copies = row.get("expected", (None, []))
            first = next((rung for rung, held in enumerate(copies) if held), None)
            expected = (split, copies[-1] if split == "train" else None, first)
            assert (row["mix_split"], row["mix_epochs"], row["mix_rung"]) == expected
        for rung, realised in enumerate(entry["rungs"]):
            held = [(row, row["expected"][1][rung]) for row in documents if row.get("expected", ("", []))[1]]
            assert realised["copies"] == sum(copies for _, copies in held)
            assert realised["documents"] == sum(copies > 0 for _, copies in held)
            assert realised["tokens"] == sum(row["tokens"] * copies for row, copies in held)
            assert realised["bytes"] == sum(row["kept_bytes"] * copies for row, copies in held)


def test_budgets_are_met_within_half_a_document_per_source(table: Table, tmp_path: Path) -> None:
    weights = {"web": 0.5, "books": 0.4, "notes": 0.1}
    stage = Mix(budgets=["1K", "3K", "10K"], weights=weights, max_epochs={"books": 4, "notes": 3})
    result = mixed(stage, table, tmp_path)
    plan = result.sidecars[-1].manifest["plan"]
    largest = {s: max(r["tokens"] for r in rows(table, COLUMNS[:4]) if r["source"] == s and r["keep"]) for s in SOURCES}
    for source, entry in plan["sources"].items():
        assert entry["weight"] == pytest.approx(weights[source])
        for rung, budget in zip(entry["rungs"], stage.budgets, strict=True):
            assert rung["target"] == round(weights[source] * budget)
            assert abs(rung["tokens"] - rung["target"]) <= largest[source] / 2
            assert rung["epochs"] == rung["tokens"] / entry["available"]["tokens"]
    for position, rung in enumerate(plan["rungs"]):
        assert rung["tokens"] == sum(entry["rungs"][position]["tokens"] for entry in plan["sources"].values())
        assert rung["name"] == f"rung-0{position}"


def test_flow_accounts_for_every_document(table: Table, tmp_path: Path) -> None:
    result = mixed(Mix(budgets=["2K"]), table, tmp_path)
    for source, counts in result.sidecars[-1].manifest["flow"].items():
        mine = [row for row in rows(result, COLUMNS) if row["source"] == source]
        assert counts == {
            "in": len(mine),
            "kept": sum(row["mix_split"] is not None for row in mine),
            "dropped": {
                "not_selected": sum(not row["keep"] for row in mine),
                "over_budget": sum(row["keep"] and row["mix_split"] is None for row in mine),
            },
            "quarantined": {},
        }


def test_validation_is_at_least_one_document_and_never_all(tmp_path: Path) -> None:
    sources = {"one": ["a b c"], "two": ["a b c d", "e f"], "many": texts(200, 5)}
    everything = ready(tmp_path, sources)
    kept = {s: sum(r["keep"] for r in rows(everything, ["source", "keep"]) if r["source"] == s) for s in sources}
    assert kept["one"] == 1
    assert kept["two"] == 2
    for share in (0.0001, 0.5):
        result = mixed(Mix(budgets=["max"], validation=share), everything, tmp_path / str(share))
        found = {s: e["validation"]["documents"] for s, e in result.sidecars[-1].manifest["plan"]["sources"].items()}
        assert (found["one"], found["two"]) == (0, 1)
        assert found["many"] == 1 if share < 0.01 else abs(found["many"] - kept["many"] / 2) < 30


def test_same_for_any_number_of_workers_and_any_shards(engines: Engines, table: Table, tmp_path: Path) -> None:
    stage = Mix(budgets=["2K", "15K"], weights={"web": 2, "books": 3, "notes": 1}, max_epochs=3)

    def found(variant: Table, name: str, workers: int) -> tuple[dict, dict, list[bytes]]:
        result = mixed(stage, variant, tmp_path / name, engines(workers))
        by_id = {row["id"]: tuple(row[c] for c in COLUMNS[5:]) for row in rows(result, ("id", *COLUMNS[5:]))}
        artifact = result.sidecars[-1]
        return by_id, artifact.manifest["plan"], [Path(artifact.part(s.name)).read_bytes() for s in variant.shards]

    here, plan, files = found(table, "inline", 0)
    assert found(table, "workers", 2) == (here, plan, files)
    for other in (ready(tmp_path / "larger", SOURCES, shard_rows=450), reordered(table, tmp_path)):
        assert found(other, other.documents.fingerprint + str(len(other.shards)), 0)[:2] == (here, plan)
    assert found(table, "again", 0)[0] == here
    reseeded = rows(mixed(stage, table, tmp_path / "seed", seed=9), COLUMNS)
    assert {r["id"]: r["mix_split"] for r in reseeded} != {i: split for i, (split, _, _) in here.items()}


def test_nothing_but_parts_and_manifest_is_left(table: Table, tmp_path: Path) -> None:
    artifact = mixed(Mix(budgets=["2K"]), table, tmp_path).sidecars[-1]
    names = {path.name for path in Path(artifact.path).iterdir()}
    assert names == {"_manifest.json", "_receipts", *(f"part-{shard.name}.parquet" for shard in table.shards)}
    assert read_part(artifact.part(table.shards[0].name)).schema.names == Mix(budgets=[1]).columns().names


def test_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    small = ready(tmp_path, {"web": texts(60, 1), "books": texts(20, 2)}, 40)
    stage = Mix(budgets=["200", "max"], weights={"web": 1, "books": 1}, max_epochs=1.5)
    check_resumes(tmp_path, lambda path, engine: mixed(stage, small, path, engine).sidecars[-1])


# -- shortage ----------------------------------------------------------------------------------------------------------


def test_shortage_stops_before_anything_is_written(table: Table, tmp_path: Path) -> None:
    weights = {"web": 0.2, "books": 0.7, "notes": 0.1}
    stage = Mix(budgets=["2K", "60K"], weights=weights, max_epochs={"books": 2, "notes": 9})
    with pytest.raises(ConfigError) as caught:
        mixed(stage, table, tmp_path)
    (problem,) = caught.value.problems
    assert problem.where == ("stages", "mix", "budgets", 1)
    assert "'books'" in problem.message
    assert "42K tokens (70.0% of 60K tokens)" in problem.message
    assert "2 epochs" in problem.message
    assert not list((tmp_path / "mix").glob("part-*"))
    feasible = int(problem.hint.split("a budget of ")[1].split()[0])
    largest = mixed(stage.model_copy(update={"budgets": (2000, feasible)}), table, tmp_path / "feasible")
    assert largest.sidecars[-1].manifest["plan"]["rungs"][1]["budget"] == feasible
    at_most = mixed(stage.model_copy(update={"budgets": (2000, "max")}), table, tmp_path / "max")
    assert at_most.sidecars[-1].manifest["plan"]["rungs"] == largest.sidecars[-1].manifest["plan"]["rungs"]
    with pytest.raises(ConfigError):
        mixed(stage.model_copy(update={"budgets": (2000, feasible + 2)}), table, tmp_path / "more")


def test_cap_takes_all_there_is_and_says_so(table: Table, tmp_path: Path) -> None:
    weights = {"web": 0.2, "books": 0.7, "notes": 0.1}
    stage = Mix(budgets=["60K"], weights=weights, max_epochs={"books": 2}, on_shortage="cap")
    plan = mixed(stage, table, tmp_path).sidecars[-1].manifest["plan"]
    books = plan["sources"]["books"]
    assert books["rungs"][0]["tokens"] == 2 * books["available"]["tokens"]
    assert books["rungs"][0]["epochs"] == 2
    assert books["rungs"][0]["share"] < books["weight"]
    assert plan["sources"]["web"]["rungs"][0]["target"] == 12_000


def test_a_source_that_gives_nothing_is_a_shortage(table: Table, tmp_path: Path) -> None:
    stage = Mix(budgets=["1K"], weights={"web": 1, "books": 1, "notes": 1, "empty": 1})
    with pytest.raises(ConfigError, match=r"weights\.empty: nothing was kept of 'empty'"):
        mixed(stage, table, tmp_path)


def test_max_below_the_rung_before_is_named(table: Table, tmp_path: Path) -> None:
    weights = {"web": 0.2, "books": 0.7, "notes": 0.1}
    with pytest.raises(ConfigError, match="'max' comes to") as raised:
        mixed(Mix(budgets=["60K", "max"], weights=weights, on_shortage="cap"), table, tmp_path)
    assert "leave 'max' out" in raised.value.problems[0].hint


# -- before any data is read -------------------------------------------------------------------------------------------


def problems(known: Known = KNOWN, **fields: Any) -> list[tuple[tuple, str, str]]:
    stage = Mix(**{"weights": {"web": 3, "books": 1}, "budgets": ["10K"]} | fields)
    return [(problem.where, problem.message, problem.hint) for problem in stage.check(known)]


def test_check_accepts_what_can_be() -> None:
    assert problems() == []
    assert problems(budgets=["10K", "100K", "max"], max_epochs={"books": 4}) == []
    assert problems(weights="proportional", budgets=["600K"]) == []


@pytest.mark.parametrize(
    ("fields", "where", "message", "hint"),
    [
        ({"budgets": ["20K", "10K"]}, ("budgets", 1), "10000 is not more than 20000", ""),
        ({"budgets": [0]}, ("budgets", 0), "0 is not more than 0", ""),
        ({"budgets": ["max", "10K"]}, ("budgets", 0), "comes last", ""),
        ({"weights": {"web": 1, "boks": 1, "books": 1}}, ("weights", "boks"), "no source 'boks'", "'books'"),
        ({"weights": {"web": 1}}, ("weights",), "'books' has no weight", "0 leaves a source out"),
        ({"weights": {"web": 1, "books": -1}}, ("weights", "books"), "got -1", ""),
        ({"weights": {"web": 0, "books": 0}}, ("weights",), "no source has a weight", ""),
        ({"max_epochs": {"bok": 2}}, ("max_epochs", "bok"), "no source 'bok'", "'books'"),
        ({"max_epochs": 0}, ("max_epochs",), "more than 0", ""),
        # 200 kB of books are at most 100,000 tokens of a tokenizer trained on them, a quarter of 400,000
        ({"budgets": ["10K", "400001"]}, ("budgets", 1), "'books' would have to give 100K tokens", "at most"),
        ({"budgets": ["801K"], "unit": "bytes"}, None, "", ""),
        ({"budgets": ["801kB"], "unit": "bytes"}, ("budgets", 0), "gives at most 200 kB in 1 epoch", "800000"),
        ({"weights": "proportional", "budgets": ["601K"]}, ("budgets", 0), "at most", "600000"),
    ],
)
def test_check_names_mistakes(fields: dict[str, Any], where: tuple | None, message: str, hint: str) -> None:
    if where is None:  # tokens' suffixes are not bytes'
        with pytest.raises(ValueError, match="whole number of bytes"):
            problems(**fields)
        return
    ((found_where, found_message, found_hint),) = problems(**fields)
    assert found_where == where
    assert message in found_message
    assert hint in found_hint


def test_hint_of_a_shortage_leads_to_a_run_that_works(table: Table, tmp_path: Path) -> None:
    weights = {"web": 0.2, "books": 0.7, "notes": 0.1}
    with pytest.raises(ConfigError) as raised:
        mixed(Mix(budgets=["60K", "max"], weights=weights), table, tmp_path / "short")
    assert "`on_shortage: cap` without 'max' takes what there is" in raised.value.problems[0].hint
    with pytest.raises(ConfigError) as raised:
        mixed(Mix(budgets=["60K", "70K"], weights=weights), table, tmp_path / "long")
    assert "`on_shortage: cap` takes what there is" in raised.value.problems[0].hint
    taken = mixed(Mix(budgets=["60K", "70K"], weights=weights, on_shortage="cap"), table, tmp_path / "capped")
    assert len(taken.sidecars[-1].manifest["plan"]["rungs"]) == 2


def test_bound_knows_epochs_caps_and_tokenizers() -> None:
    assert problems(budgets=["1.6M"], max_epochs=4) == []
    assert problems(budgets=["10M"], on_shortage="cap") == []
    given = Known(KNOWN.columns, KNOWN.sources, {"tokens": Tokens(name="tokens", tokenizer="tokenizer.json")})
    assert problems(given, budgets=["800K"]) == []
    assert len(problems(given, budgets=["801K"])) == 1
    rare = Known(KNOWN.columns, {"web": 10_000_000, "books": 200_000}, KNOWN.stages)  # too rare to shape the tokenizer
    assert problems(rare, budgets=["800K"]) == []
    assert problems(Known(KNOWN.columns, {"web": 0, "books": 0}, {}), budgets=["1T"]) == []  # sizes are not known

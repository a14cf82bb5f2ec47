"""A `Run` shows what lies in a run's directory: against the part files read by hand, and what it says to mistakes."""

import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

from curate import Pipeline, Run
from curate.errors import ConfigError, RunError
from curate.io.plain import plain_columns
from curate.registry import stage_types
from curate.runs.scan import scan
from curate.table import DOCUMENT
from tests.runs import configuration, curate, digests, write_config


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of every stage, which `Pipeline.run` gives back."""
    root = tmp_path_factory.mktemp("finished") / "run"
    return Pipeline.from_mapping(configuration(data, root, workers=0)).run()


@pytest.fixture(scope="module")
def two_tables(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Documents that are measured, cleaned, and measured again; cleaning leaves a part of the first source.

    Nothing of the second source is left, so that its shards are empty.
    """
    folder = tmp_path_factory.mktemp("two_tables")
    texts = {"a": ["One line of text.", "\u200b", "Two\u200b lines."] * 4, "b": ["\u200b"] * 3, "c": ["Text of c."]}
    for source, lines in texts.items():
        rows = (json.dumps({"id": f"{source}{n}", "text": line}) for n, line in enumerate(lines))
        (folder / f"{source}.jsonl").write_text("\n".join(rows))
    read = {"shard_bytes": 60, "sources": {source: {"path": f"{folder}/{source}.jsonl"} for source in texts}}
    stages = {
        "read": read,
        "before": {"stage": "information"},
        "size": {},
        "clean": {},
        "information": {},
        "select": {"drop": {"short": "text_bytes < 12"}},
    }
    config = {"run": {"root": f"{folder}/run"}, "engine": {"workers": 0}, "stages": stages}
    return Pipeline.from_mapping(config).run()


def by_hand(run: Run, *stages: str) -> pl.DataFrame:
    """Part files of stages side by side, read by pyarrow in the order of the shards."""
    described = {stage["name"]: stage for stage in json.loads((Path(run.root) / "run.json").read_text())["stages"]}
    folders = [Path(run.root) / described[stage]["path"] for stage in stages]
    shards = json.loads((folders[0] / "_manifest.json").read_text())["shards"]
    tables = []
    for folder in folders:
        parts = [pq.ParquetFile(folder / f"part-{shard['name']}.parquet").read() for shard in shards]
        tables.append(pl.DataFrame(plain_columns(pa.concat_tables(parts, promote_options="permissive"))))
    return pl.concat(tables, how="horizontal").cast({pl.Int32: pl.Int64})


# -- documents and columns ---------------------------------------------------------------------------------------------


def test_all_columns_are_those_of_the_parts(finished: Run) -> None:
    listed = finished.columns
    assert listed.get_column("table").unique().to_list() == ["read"]
    stages = listed.get_column("stage").unique(maintain_order=True).to_list()
    columns = listed.get_column("column").to_list()
    assert len(set(columns)) == len(columns) > 90
    frame = finished.scan(*columns)
    assert frame.collect_schema().names() == columns
    collected = frame.collect()
    assert [str(kind) for kind in collected.dtypes] == listed.get_column("type").to_list()
    assert_frame_equal(collected, by_hand(finished, *stages).select(columns))


def test_documents_alone(finished: Run) -> None:
    documents = finished.scan().collect()
    assert documents.columns == DOCUMENT.names
    assert_frame_equal(documents, by_hand(finished, "read"))
    assert finished.explain(documents["id"][7]).source_id == documents["source_id"][7]


def test_columns_are_named_as_they_were_asked_for(finished: Run) -> None:
    frame = finished.scan("langid.lang_code", "lang_code", "read.text", "minhash_keep", "minhash_keep").collect()
    assert frame.columns == [*DOCUMENT.names, "langid.lang_code", "lang_code", "read.text", "minhash_keep"]
    assert frame["langid.lang_code"].to_list() == frame["lang_code"].to_list()
    assert frame["read.text"].to_list() == frame["text"].to_list()


QUERIES: dict[str, Callable[[pl.LazyFrame], pl.LazyFrame]] = {
    "count": lambda frame: frame.select(pl.len()),
    "filter": lambda frame: frame.filter(pl.col("text_bytes") > 600).select("id", "text"),
    "filter by what is read anyway": lambda frame: frame.filter(pl.col("text").str.len_bytes() > 600).select("text"),
    "filter that keeps nothing": lambda frame: frame.filter(pl.col("text_bytes") < 0),
    "filter that keeps all": lambda frame: frame.filter(pl.col("text_bytes") >= 0),
    "filter by a null": lambda frame: frame.filter(pl.col("minhash_cluster") > 100),
    "two filters": lambda frame: frame.filter("keep").filter(pl.col("source") == "notes").select("source_id"),
    "a literal": lambda frame: frame.filter(pl.lit(value=True)).select("id"),
    "a function": lambda frame: frame.filter(
        pl.col("text_bytes").map_elements(lambda size: size % 3 == 0, return_dtype=pl.Boolean)
    ).select("id", "source_id"),
    "aggregate that filters": lambda frame: frame.filter(pl.col("text_bytes") > pl.col("text_bytes").mean()).select(
        "id"
    ),
    "head": lambda frame: frame.head(70).select("text_bytes", "id"),
    "head, then filter": lambda frame: frame.head(70).filter(~pl.col("keep")).select("id"),
    "filter, then head": lambda frame: frame.filter(~pl.col("keep")).head(7).select("id"),
    "slice": lambda frame: frame.slice(130, 90).select("id", "text"),
    "tail": lambda frame: frame.tail(3),
    "row numbers": lambda frame: frame.with_row_index().filter(pl.col("index") % 50 == 1).select("index", "id"),
    "groups": lambda frame: (
        frame.group_by("source", "drop_reason")
        .agg(pl.len(), pl.col("text_bytes").sum())
        .sort("source", "drop_reason", "len")
    ),
    "join": lambda frame: (
        frame.join(frame, left_on="minhash_keeper", right_on="id").select("id", "text_right").sort("id")
    ),
}


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
@pytest.mark.filterwarnings("ignore::polars.exceptions.PolarsInefficientMapWarning")
def test_queries_give_what_they_give_on_the_collected_frame(finished: Run, query: str, engine: Any) -> None:
    frame = finished.scan("text_bytes", "keep", "drop_reason", "minhash_cluster", "minhash_keeper")
    expected = QUERIES[query](frame.collect().lazy()).collect()
    assert_frame_equal(QUERIES[query](frame).collect(engine=engine), expected)


def test_only_what_a_query_needs_is_read(finished: Run, tmp_path: Path) -> None:
    """All documents but those of the first shard are made unreadable."""
    shutil.copytree(finished.root, tmp_path / "run")
    run = Run(tmp_path / "run")
    frame = run.scan("text_bytes", "exact_keep")
    sizes = frame.select("text_bytes", "exact_keep").collect()
    first, *others = sorted((tmp_path / "run").glob("read-*/part-*.parquet"))
    rows = pq.read_metadata(first).num_rows
    (size, *_) = sorted({*sizes["text_bytes"][:rows]} - {*sizes["text_bytes"][rows:]})
    for part in others:
        part.write_bytes(b"no Parquet")
    assert len(others) > 4
    assert frame.select("text_bytes", "exact_keep").collect().equals(sizes)
    found = frame.filter(pl.col("text_bytes") == size).select("text").collect()
    assert found["text"].str.len_bytes().unique().to_list() == [size]
    assert frame.head(10).collect().height == 10
    with pytest.raises(pl.exceptions.ComputeError):
        frame.select("text").collect()


def test_parts_that_do_not_belong_together_are_an_error(finished: Run, tmp_path: Path) -> None:
    shutil.copytree(finished.root, tmp_path / "run")
    part = sorted((tmp_path / "run").glob("exact-*/part-*.parquet"))[0]
    pq.write_table(pq.read_table(part).slice(1), part)
    with pytest.raises(pl.exceptions.PolarsError, match=r"height|length|rows"):
        Run(tmp_path / "run").scan("exact_keep").select("id", "exact_keep").collect()


def test_types_that_stages_write(tmp_path: Path) -> None:
    """Nested columns, dictionaries that differ from shard to shard, nulls, and a shard without rows."""
    entry = pa.struct([("name", pa.dictionary(pa.int32(), pa.string())), ("size", pa.float32())])
    kind = {"id": pa.binary(16), "code": pa.dictionary(pa.int32(), pa.string()), "top": pa.list_(entry)}
    kind |= {"date": pa.timestamp("us", tz="UTC"), "text": pa.large_string(), "bits": pa.uint64()}
    schema = pa.schema(kind.items())
    rows = [
        {
            "id": bytes(16),
            "code": "en",
            "top": [{"name": "x", "size": 0.5}],
            "text": "A long text of its own.",
            "bits": 1,
        },
        {"id": b"\1" * 16, "code": None, "top": [], "text": "", "bits": 2**63},
        {"id": b"\2" * 16, "code": "de", "top": None, "text": "Noch ein eigener Text.", "bits": None},
    ]
    shards = [rows[:1], [], rows[1:]]
    files = []
    for number, shard in enumerate(shards):
        files.append([f"{tmp_path}/[{number}]*.parquet"])
        pq.write_table(pa.Table.from_pylist(shard, schema), files[-1][0])
    frame = scan(files, {name: (0, name) for name in schema.names})
    for found in (frame.collect(), frame.filter(pl.col("bits").is_null() | (pl.col("bits") > 0)).collect()):
        assert found.height == 3
        assert found.schema == frame.collect_schema()
        assert found["id"].to_list() == [row["id"].hex() for row in rows]
        assert found["code"].to_list() == ["en", None, "de"]
        assert found["top"].to_list() == [row["top"] for row in rows]
        assert found["text"].to_list() == [row["text"] for row in rows]


def test_sums_do_not_overflow(tmp_path: Path) -> None:
    pq.write_table(pa.table({"tokens": pa.array([2**31 - 1] * 3, pa.int32())}), f"{tmp_path}/a.parquet")
    assert scan([[f"{tmp_path}/a.parquet"]], {"tokens": (0, "tokens")}).sum().collect().item() == 3 * (2**31 - 1)


def test_rows_that_are_kept_do_not_hold_on_to_the_others(tmp_path: Path) -> None:
    texts = [f"{number:06d}" + "x" * 1000 for number in range(2000)]
    pq.write_table(pa.table({"number": range(2000), "text": texts}), f"{tmp_path}/a.parquet")
    frame = scan([[f"{tmp_path}/a.parquet"]], {"number": (0, "number"), "text": (0, "text")})
    kept = frame.filter(pl.col("number") % 100 == 0).select("text").collect()
    views = kept.to_arrow(compat_level=pl.CompatLevel.newest())["text"].combine_chunks()
    held = sum(buffer.size for buffer in views.buffers() if buffer is not None)
    assert views.type == pa.string_view()
    assert held < 2 * sum(map(len, kept["text"]))


# -- more than one table -----------------------------------------------------------------------------------------------


def test_an_earlier_table_has_its_own_rows_and_columns(two_tables: Run) -> None:
    assert two_tables.tables == ("read", "clean")
    last = two_tables.scan("info_zstd_ratio", "keep").collect()
    assert last.height == 9
    assert_frame_equal(last.drop("keep"), by_hand(two_tables, "clean", "information").select(last.drop("keep").columns))
    first = two_tables.scan("info_zstd_ratio", table="read").collect()
    assert first.height == 16
    assert_frame_equal(first, by_hand(two_tables, "read", "before").select(first.columns))
    assert set(first["source"]) == {"a", "b", "c"}
    assert set(last["source"]) == {"a", "c"}
    assert two_tables.scan("text_bytes", table="read").select("text_bytes").collect().to_series().sum() > 0
    kept = two_tables.kept("info_zstd_ratio").collect()
    assert kept["text"].to_list() == ["One line of text."] * 4
    assert kept.columns == [*DOCUMENT.names, "info_zstd_ratio"]


def test_a_table_that_cleaning_left_as_it_was_keeps_its_own_columns(tmp_path: Path) -> None:
    """The shards of both tables are the same, down to the checksums; columns still belong to one of them."""
    (tmp_path / "a.jsonl").write_text('{"text": "Nothing to clean here."}')
    read = {"sources": {"a": {"path": f"{tmp_path}/a.jsonl"}}}
    stages = {"read": read, "before": {"stage": "information"}, "clean": {}, "information": {}}
    run = Pipeline.from_mapping({"run": {"root": f"{tmp_path}/run"}, "engine": {"workers": 0}, "stages": stages}).run()
    assert run.scan("info_zstd_ratio").collect().height == 1
    assert run.columns.filter(pl.col("column").str.starts_with("info")).select("stage", "table").unique().height == 2


def test_branches_that_promise_the_same_column(data: Path, tmp_path: Path) -> None:
    read = {"sources": {"notes": {"path": f"{data}/notes.jsonl.zst"}}}
    branch = {"stage": "langid", "after": ["read"]}
    stages = {"read": read, "one": branch, "two": {**branch, "max_chars": 64}}
    run = Pipeline.from_mapping({"run": {"root": f"{tmp_path}/run"}, "engine": {"workers": 0}, "stages": stages}).run()
    with pytest.raises(RunError, match=r"'one' and 'two' each wrote a column 'lang_code'; ask for 'one\.lang_code' or"):
        run.scan("lang_code")
    frame = run.scan("one.lang_score", "two.lang_score").collect()
    for stage in ("one", "two"):
        assert frame[f"{stage}.lang_score"].to_list() == by_hand(run, stage)["lang_score"].to_list()
    assert not frame["one.lang_score"].equals(frame["two.lang_score"])


# -- mistakes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "table", "message"),
    [
        (["gopher_word"], None, "no column 'gopher_word'; did you mean 'gopher_words'"),
        (["minhash.minhash_kep"], None, "did you mean 'minhash.minhash_keep'"),
        (["heuristics.lang_code"], None, "no column 'heuristics.lang_code'; did you mean"),
        (["zzz"], None, "no column 'zzz'; `columns` lists those there are"),
        (["lang_cod", "lang_scor"], None, r"(?s)did you mean 'lang_code'.*\n.*did you mean 'lang_score'"),
        ([], "reed", "no stage 'reed' has made documents; did you mean 'read'?"),
        ([], "select", "no stage 'select' has made documents; valid: read"),
    ],
)
def test_wrong_columns_and_tables(finished: Run, columns: Sequence[str], table: str | None, message: str) -> None:
    with pytest.raises(RunError, match=message):
        finished.scan(*columns, table=table)


def test_a_column_of_another_table(two_tables: Run) -> None:
    hint = r"the documents of 'clean' have no column 'before.info_zstd_ratio', but those of 'read' have"
    with pytest.raises(RunError, match=hint + r": scan\(..., table='read'\)"):
        two_tables.scan("before.info_zstd_ratio")
    with pytest.raises(RunError, match=r"no column 'select\.text'; did you mean 'select\.keep'"):
        two_tables.scan("select.text")
    with pytest.raises(RunError, match="'read' have no column 'keep', but those of 'clean' have"):
        two_tables.scan("keep", table="read")


def test_no_run(finished: Run, tmp_path: Path) -> None:
    (tmp_path / "web").symlink_to(finished.root)
    with pytest.raises(RunError, match=r"there is no run in .*/wep: run.json is missing; did you mean 'web'\?"):
        Run(tmp_path / "wep")
    with pytest.raises(RunError, match=r"run\.json is missing; runs in it: web$"):
        Run(str(tmp_path))
    with pytest.raises(RunError, match=r"run\.json is missing$"):
        Run(tmp_path / "nowhere" / "web")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"run\.json is missing; valid: web$"):
        Run(tmp_path / "file")
    (tmp_path / "dedup").mkdir()
    (tmp_path / "dedup" / "run").symlink_to(finished.root)
    assert Run(tmp_path / "dedup").root == f"{tmp_path}/dedup/run"
    done = curate("status", tmp_path / "wep")
    assert (done.returncode, done.stderr.count("did you mean 'web'?")) == (1, 1)


def test_a_run_of_an_earlier_version(finished: Run, tmp_path: Path) -> None:
    description = json.loads((Path(finished.root) / "run.json").read_text())
    del description["stages"][1]["table"]
    (tmp_path / "run.json").write_text(json.dumps(description))
    with pytest.raises(RunError, match="made by an earlier version of curate: run the same recipe again"):
        Run(tmp_path)


def test_a_run_that_stopped(data: Path, finished: Run, tmp_path: Path) -> None:
    config = configuration(data, tmp_path / "run", workers=0)
    config["stages"]["mix"]["budgets"] = ["180k"]
    with pytest.raises(ConfigError, match="gives at most"):
        Pipeline.from_mapping(config).run()
    run = Run(tmp_path / "run")
    assert not run.finished
    assert "11 of 13 stages have finished" in repr(run)
    status = run.stages.filter(stage="shards").drop("path").row(0)
    assert status == ("shards", "shards", "read", None, None, "waiting")
    assert re.fullmatch(r"[1-9]\d* tasks done", run.stages.filter(stage="mix")["status"][0])
    assert_frame_equal(run.kept("tokens").collect(), finished.kept("tokens").collect())
    with pytest.raises(RunError, match="no column 'mix_rung'; stages that have not finished: mix, shards"):
        run.scan("mix_rung")
    with pytest.raises(RunError, match=r"did you mean 'tokens'\?; stages that have not finished: mix, shards"):
        run.scan("token")
    for ask in (run.validation, lambda: run.rung(0), lambda: run.rungs):
        with pytest.raises(RunError, match="the stage 'shards' has not finished; run the pipeline again to go on"):
            ask()
    assert "shards" not in run.flow["stage"]


def test_a_run_that_has_read_nothing(data: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    stages = {"read": {"sources": {"a": {"path": f"{tmp_path}/empty.jsonl"}}}}
    with pytest.raises(RunError, match="has no documents"):
        Pipeline.from_mapping({"run": {"root": f"{tmp_path}/run"}, "engine": {"workers": 0}, "stages": stages}).run()
    run = Run(tmp_path / "run")
    for ask in (run.scan, run.kept):
        with pytest.raises(RunError, match=r"has made documents yet|has no `select` stage"):
            ask()
    assert run.tables == ()
    assert run.flow.is_empty()
    assert run.columns.is_empty()
    assert run.quarantine().collect().is_empty()


# -- what came of them -------------------------------------------------------------------------------------------------


def test_kept(finished: Run) -> None:
    everything = finished.scan("keep", "tokens").collect()
    assert_frame_equal(finished.kept("tokens").collect(), everything.filter("keep").drop("keep"))
    assert_frame_equal(finished.kept("keep", stage="select").collect(), everything.filter("keep").drop("tokens"))
    with pytest.raises(RunError, match="has no `select` stage called 'strict'; valid: select"):
        finished.kept(stage="strict")


def test_rungs_and_validation(finished: Run) -> None:
    root = Path(finished.stages.filter(stage="shards")["path"][0])
    folders = [root / "train" / name for name in ("rung-00", "rung-01")]
    increments = [pl.read_parquet(sorted(folder.glob("*.parquet"))).cast({pl.Int32: pl.Int64}) for folder in folders]
    small, large = finished.rung("8k").collect(), finished.rung("24k").collect()
    assert_frame_equal(small, increments[0])
    assert_frame_equal(large, pl.concat(increments))
    for same in ("rung-01", 1, -1, "24000"):
        assert_frame_equal(finished.rung(same).collect(), large)
    assert finished.rungs["tokens"].to_list() == [small["tokens"].sum(), large["tokens"].sum()]
    assert finished.rungs["budget"].to_list() == [8000, 24000]
    for wrong in ("9k", "rung-02", "max", 2, -3, "1.5"):
        with pytest.raises(RunError, match=r"no rung .*rungs and their budgets: rung-00 \(8,000\), rung-01 \(24,000\)"):
            finished.rung(wrong)
    held_out = finished.validation().collect()
    assert set(held_out["source"]) == {"prose", "notes"}
    split = finished.scan("mix_split").filter(pl.col("mix_split") == "validation").select("id").collect()
    assert set(held_out["id"]) == set(split["id"])


def test_the_largest_rung_and_no_validation(data: Path, tmp_path: Path) -> None:
    config = configuration(data, tmp_path / "run", workers=0)
    config["stages"]["mix"] |= {"budgets": ["8k", "max"], "validation": 0}
    run = Pipeline.from_mapping(config).run()
    assert run.rung("max").collect().height == run.rung(-1).collect().height > run.rung(0).collect().height
    assert run.validation().collect().is_empty()
    assert run.validation().collect_schema() == run.rung(0).collect_schema()


def test_quarantine(finished: Run) -> None:
    rows = finished.quarantine().collect()
    assert rows.select("source", "file", "scope", "line", "reason").rows() == [
        ("prose", "prose.jsonl", "row", 18, "null_text"),
        ("prose", "prose.jsonl", "row", 41, "malformed_json"),
    ]
    assert repr(finished.explain(f"prose/prose.jsonl#{rows['offset'][0]}")).startswith(
        "quarantined when prose was read"
    )


def test_flow(finished: Run) -> None:
    flow = finished.flow
    counted = flow.pivot("outcome", index=["stage", "source"], values="documents", aggregate_function="sum")
    assert counted.height == 2 * 13
    assert (
        counted["in"] == counted["kept"] + counted["dropped"].fill_null(0) + counted["quarantined"].fill_null(0)
    ).all()
    assert flow.filter(stage="read", outcome="quarantined").select("source", "reason", "documents").rows() == [
        ("prose", "malformed_json", 1),
        ("prose", "null_text", 1),
    ]
    dropped = (
        finished.scan("drop_reason").group_by("source", reason="drop_reason").len("documents").drop_nulls().collect()
    )
    of_select = flow.filter(pl.col("documents") > 0, stage="select", outcome="dropped")
    assert_frame_equal(dropped, of_select.select(dropped.columns), check_row_order=False, check_dtypes=False)


def test_how_a_run_and_a_pipeline_are_shown(finished: Run, data: Path) -> None:
    lines = repr(finished).splitlines()
    assert lines[0] == f"Run {'/'.join(finished.root.split('/')[-2:])}: all 13 stages have finished"
    documents = finished.scan().select(pl.len()).collect().item()
    assert lines[2].split() == ["read", f"{documents:,}", "7", "done"]
    assert any(line.startswith("exact_text_hash (text_hash)") for line in lines)
    html = finished._repr_html_()
    assert html.count("<tr>") == 14
    assert f'<td style="text-align: right">{documents:,}</td>' in html
    config = configuration(data, Path(finished.root), workers=0)
    config["stages"]["select"]["drop"]["short"] = "gopher_words < 21"
    shown = repr(Pipeline.from_mapping(config)).splitlines()
    assert shown[0].endswith("13 stages, of which 4 have to run")
    assert {line.split()[0] for line in shown[2:] if line.endswith("to run")} == {"select", "tokens", "mix", "shards"}
    assert "<td" in Pipeline.from_mapping(config)._repr_html_()


def test_explanation_and_report(finished: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    document = finished.kept().head(1).collect()["id"][0]
    explained = finished.explain(document[:12])
    assert repr(explained) == explained.render()
    assert f"document   {document}" in repr(explained)
    assert explained._repr_html_().startswith("<pre>document")
    with pytest.raises(RunError, match=r"there is no document[\s\S]*curate.Run\('.*'\).scan\(table='read'\)"):
        finished.explain("f" * 32)
    page = finished.report()
    assert page == f"{finished.root}/report.html"
    assert Path(page).is_file()
    assert f'href="file://{page}"' in page._repr_html_()
    monkeypatch.chdir(Path(finished.root).parent)
    assert 'href="run/report.html"' in page._repr_html_()


# -- where runs lie and who makes them ---------------------------------------------------------------------------------


def test_two_workers_and_the_command_line(data: Path, finished: Run, tmp_path: Path) -> None:
    assert curate("run", write_config(tmp_path / "c.yaml", configuration(data, tmp_path / "run"))).returncode == 0
    run = Run(tmp_path / "run")
    columns = finished.columns["column"].to_list()
    assert_frame_equal(run.scan(*columns).collect(), finished.scan(*columns).collect())
    assert digests(Path(run.root)) == digests(Path(finished.root))
    status = curate("status", tmp_path / "run")
    assert status.stdout == f"{run!r}\n"


def test_a_run_on_remote_storage(data: Path, finished: Run, request: pytest.FixtureRequest) -> None:
    config = configuration(data, Path("unused"), workers=0)
    config["run"]["root"] = f"memory://{request.node.name}"
    run = Pipeline.from_mapping(config).run()
    assert run.root == f"memory://{request.node.name}"
    columns = finished.columns["column"].to_list()
    assert_frame_equal(run.columns, finished.columns)
    assert_frame_equal(run.scan(*columns).collect(), finished.scan(*columns).collect())
    assert_frame_equal(run.kept().head(5).collect(), finished.kept().head(5).collect())
    assert_frame_equal(run.scan("tokens").head(70).collect(), finished.scan("tokens").head(70).collect())
    assert_frame_equal(run.rung(0).collect(), finished.rung(0).collect())
    assert_frame_equal(run.quarantine().collect(), finished.quarantine().collect())
    assert_frame_equal(run.flow, finished.flow)
    assert run.report() == f"{run.root}/report.html"
    with pytest.raises(RunError, match="there is no run in memory://nowhere"):
        Run("memory://nowhere")


def test_the_package_offers_what_it_names() -> None:
    import curate as package
    from curate import stages

    for name in package.__all__:
        assert getattr(package, name)
    assert set(package.__all__) <= set(dir(package))
    for kind, model in stage_types().items():
        assert getattr(stages, model.__name__) is model, kind
    for name in ("Stages", "read_", "Heuristic"):
        with pytest.raises(AttributeError, match=f"no attribute '{name}'"):
            getattr(stages, name)


def test_every_stage_is_known_to_editors() -> None:
    import ast

    from curate import stages

    (block,) = (node for node in ast.parse(Path(stages.__file__).read_text()).body if isinstance(node, ast.If))
    homes = {alias.name: line.module for line in block.body if isinstance(line, ast.ImportFrom) for alias in line.names}
    assert {model.__name__ for model in stage_types().values()} <= set(homes)
    for name, home in homes.items():
        assert getattr(stages, name).__module__ == home

"""Judging over HTTP: the sample, the same bytes whatever goes wrong, nothing asked twice, votes worth more together."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate import Pipeline
from curate.artifact import Artifact
from curate.errors import ConfigError, RunError
from curate.stages.judge import Judge
from curate.table import Table
from curate.text.hashing import hash64
from curate.weak.judge.prompts import PROMPTS, Prompt
from tests.corpus import document_id, make_table, run_stage
from tests.engine.engines import Engines
from tests.runs import digests, write_config
from tests.weak.judge.ensemble import accuracies, judged
from tests.weak.judge.server import JURORS, MODEL, ROUGH, Faults, JudgeServer, document, verdict

ROW = {0: "keep", 1: "drop", 2: "abstain"}
EVERY = 60  # documents of the small table


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """Two sources in shards of 25, the second with blank documents and copies of the first."""
    texts = {"a": [document(n) for n in range(40)], "b": [*map(document, range(30, 50)), "", " \n"]}
    return make_table(tmp_path_factory.mktemp("judge") / "read", texts, 25)


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    with JudgeServer(seed=1) as server:
        yield server


def judge(server: JudgeServer, **fields: Any) -> Judge:
    given = {"base_url": server.url, "model": MODEL, "documents": 1.0, "backoff": 0.0, **fields}
    return Judge(**given)


def rows(table: Table, stage: Judge, artifact: Artifact) -> list[dict[str, Any]]:
    whole = Table(table.documents, (artifact,))
    names = ["source", "source_id", "text", *stage.columns().names]
    return [row for shard in whole.shards for row in whole.read(shard, names).to_pylist()]


def number_of(row: dict[str, Any]) -> int:
    return int(row["source_id"]) + (30 if row["source"] == "b" else 0)


# -- what is asked -----------------------------------------------------------------------------------------------------


def test_votes_are_the_servers_and_copies_are_asked_once(table: Table, server: JudgeServer, tmp_path: Path) -> None:
    stage = judge(server, concurrency=16)
    artifact = run_stage(stage, table, tmp_path)
    for row in rows(table, stage, artifact):
        for name in JURORS:
            expected = ROW[verdict(1, name, number_of(row))] if row["text"].strip() else None
            assert row[f"judge_{name}"] == (expected if name != "defects" or expected != "keep" else "abstain")
        answer = row["judge_open_answer"]
        assert answer is None or f"number {number_of(row)}, made for a test. => " in answer
    assert set(server.answered.values()) == {1}
    assert len(server.answered) == 50 * 6
    told = artifact.manifest["judge"]
    assert told["documents"] == {"all": 62, "asked": 60}
    assert {name: counts["requests"] for name, counts in told["prompts"].items()} == dict.fromkeys(JURORS, 50) | {
        "open": 100
    }
    assert all(counts["tokens"]["completion"] > 0 for counts in told["prompts"].values())


@pytest.mark.parametrize("documents", [1, 20, 60, 5000, 0.3])
def test_the_sample_is_of_the_lowest_hashes(
    table: Table, server: JudgeServer, tmp_path: Path, documents: float
) -> None:
    stage = judge(server, documents=documents, prompts=("yesno",), answer_chars=0)
    found = rows(table, stage, run_stage(stage, table, tmp_path, seed=7))
    ids = [document_id(row["source"], row["source_id"]) for row in found]
    hashes = hash64(7, "judge", np.frombuffer(b"".join(ids), np.uint8).reshape(-1, 16))
    words = np.array([bool(row["text"].strip()) for row in found])
    share = isinstance(documents, float)
    limit = documents * 2.0**64 if share else np.sort(hashes[words])[: int(documents)][-1]
    assert [row["judge_yesno"] is not None for row in found] == (words & (hashes <= limit)).tolist()
    assert 0 < len(server.answered) < 51


def test_what_is_shown_and_sent(server: JudgeServer, tmp_path: Path) -> None:
    text = "begin " + "word " * 500 + "middle " + "word " * 500 + "end"
    table = make_table(tmp_path / "read", {"a": [text]})
    own = {"last": Prompt(template="{text}? YES, NO or UNSURE", map={"YES": "keep"}, view="tail")}
    run_stage(judge(server, max_chars=300, own=own, max_tokens=None, seed=3, extra={"top_p": 0.5}), table, tmp_path)
    bodies = list(server.bodies.values())
    assert len(bodies) == 7
    for body in bodies:
        messages = body.pop("messages")
        assert body == {"model": MODEL, "temperature": 0.0, "seed": 3, "top_p": 0.5}
        assert len(messages[-1]["content"]) < 1200
    shown = {name: prompt.first("x")[-1]["content"].partition("x")[2] for name, prompt in PROMPTS.items()}
    assert len(shown) == 5


def test_a_chain_ends_at_an_answer_that_says_nothing(table: Table, tmp_path: Path) -> None:
    with JudgeServer(faults=Faults(odd={"truncated": 1.0})) as server:
        stage = judge(server, prompts=("open",), documents=10)
        told = run_stage(stage, table, tmp_path).manifest["judge"]["prompts"]["open"]
    assert len(server.answered) == told["requests"] <= 10
    assert (told["abstain"], told["kinds"]["truncated"], told["keep"] + told["drop"]) == (10, 10, 0)


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def test_the_same_bytes_for_any_workers_and_any_trouble(engines: Engines, table: Table, tmp_path: Path) -> None:
    found = []
    odd = dict.fromkeys(ROUGH.odd, 0.03)
    for workers, faults in ((0, Faults(odd=odd)), (2, Faults(ROUGH.once, {}, odd, ROUGH.delay))):
        with JudgeServer(1, faults) as server:
            stage = judge(server, concurrency=1 + 15 * (workers > 0))
            artifact = run_stage(stage, table, tmp_path / str(workers), engine=engines(workers))
        found.append(digests(Path(artifact.path)))
        assert server.answered.most_common(1)[0][1] == 1
    assert server.seen.total() > server.answered.total()  # there was trouble
    assert found[0] == found[1]
    assert not [name for name in found[0] if name.startswith(("_s", "_a"))]
    kinds: Counter[str] = Counter()
    for counts in artifact.manifest["judge"]["prompts"].values():
        kinds.update(counts["kinds"])
    assert kinds["truncated"] > 0 < kinds["refusal"]
    assert kinds["unmapped"] > 0 < kinds["empty"]


def test_unanswered_questions_are_counted_and_null(table: Table, tmp_path: Path) -> None:
    with JudgeServer(2, Faults(always={"500": 0.05})) as server:
        stage = judge(server, retries=1, max_unanswered=0.2)
        artifact = run_stage(stage, table, tmp_path)
        counts = artifact.manifest["judge"]["prompts"]
        missing = {name: sum(r[f"judge_{name}"] is None for r in rows(table, stage, artifact)) - 2 for name in JURORS}
        assert {name: counts[name]["unanswered"] for name in JURORS} == missing
        assert 0 < sum(missing.values()) < 0.2 * 300
        total = sum(missing.values())
        # The limit from both sides: what is answered comes from the cache, so only the failing ones are asked again.
        for allowed in (total, total - 1):
            again = judge(server, retries=0, max_unanswered=(allowed + 0.5) / 300, cache=str(tmp_path / "judge.sqlite"))
            if allowed == total:
                assert digests(Path(run_stage(again, table, tmp_path / "b").path)) == digests(Path(artifact.path))
            else:
                with pytest.raises(RunError, match=f"judge: {total} of 300 questions got no answer.*simulated 500"):
                    run_stage(again, table, tmp_path / "c")
    assert max(server.answered.values()) == 1


def test_the_key_is_in_no_file(table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "top-secret\n")
    with JudgeServer(key="top-secret") as server:
        (tmp_path / "a.jsonl").write_text(json.dumps({"text": document(1)}))
        config = recipe(tmp_path, server, tmp_path / "run", api_key_env="A_KEY")
        Pipeline.from_mapping(config).run()
        assert server.answered.total() == 6
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 8
    assert not [path for path in files if b"top-secret" in path.read_bytes()]
    assert b"A_KEY" in (tmp_path / "run" / "run.yaml").read_bytes()


def test_what_is_hopeless_stops_at_once_and_keeps_answers(table: Table, tmp_path: Path) -> None:
    with JudgeServer(3, Faults(always={"404": 0.1})) as server:
        with pytest.raises(RunError, match=r"judge: .*HTTP 404: simulated 404"):
            run_stage(judge(server, concurrency=2), table, tmp_path)
        kept = sqlite3.connect(tmp_path / "judge.sqlite").execute("SELECT count(*) FROM answers").fetchone()[0]
        assert kept == server.answered.total() < 200


def test_nobody_is_there(table: Table, server: JudgeServer, tmp_path: Path) -> None:
    stage = judge(server, documents=20, prompts=("yesno",))
    artifact = run_stage(stage, table, tmp_path)
    gone = judge(server, documents=20, prompts=("yesno", "cloze"), base_url="http://127.0.0.1:9/v1", retries=0)
    with pytest.raises(RunError, match=r"judge: nobody answers at base_url 'http://127.0.0.1:9/v1'"):
        run_stage(gone, table, tmp_path / "b")
    # With all answers in the cache nobody needs to be there.
    alone = gone.model_copy(update={"prompts": ("yesno",), "cache": str(tmp_path / "judge.sqlite")})
    assert digests(Path(run_stage(alone, table, tmp_path / "c").path)) == digests(Path(artifact.path))


def test_an_interruption_keeps_what_is_in_flight(table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = 0

    def interrupted(*_: Any, **__: Any) -> None:
        nonlocal counted
        counted += 1
        if counted == 20:
            raise KeyboardInterrupt

    monkeypatch.setattr("curate.weak.judge.tally.Tally.add", interrupted)
    with JudgeServer(faults=Faults(delay=0.02)) as server:
        with pytest.raises(KeyboardInterrupt):
            run_stage(judge(server, concurrency=3), table, tmp_path)
        assert server.seen.total() == server.answered.total() == len(cached(tmp_path)) < 150
        assert {canonical(body) for body in server.bodies.values()} == cached(tmp_path)


# -- killed and resumed ------------------------------------------------------------------------------------------------

CONCURRENCY = 4


def recipe(path: Path, server: JudgeServer, root: Path, **fields: Any) -> dict[str, Any]:
    lines = [json.dumps({"id": n, "text": document(n)}) for n in range(EVERY)]
    if not (path / "a.jsonl").exists():  # written anew, it would be another input
        (path / "a.jsonl").write_text("\n".join(lines))
    stanza = {"base_url": server.url, "model": MODEL, "backoff": 0.01, "concurrency": CONCURRENCY, **fields}
    read = {"sources": {"a": {"path": str(path / "a.jsonl")}}, "shard_bytes": "3kB"}
    return {"run": {"root": str(root)}, "engine": {"workers": 0}, "stages": {"read": read, "judge": stanza}}


def cached(root: Path) -> set[str]:
    connection = sqlite3.connect(root / "judge.sqlite")
    return {key.hex() for (key,) in connection.execute("SELECT key FROM answers")}


def canonical(body: dict[str, Any]) -> str:
    """The key of a request as the cache writes it, by another library than it uses."""
    import hashlib

    compact = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(compact.encode()).hexdigest()


def test_kill_and_resume_asks_nothing_again(tmp_path: Path) -> None:
    rough = Faults(ROUGH.once, {}, ROUGH.odd, delay=0.01)
    with JudgeServer(4, rough) as server:
        config = recipe(tmp_path, server, tmp_path / "run")
        path = write_config(tmp_path / "recipe.yaml", config)
        process = subprocess.Popen([sys.executable, "-m", "curate", "run", str(path)], stderr=subprocess.DEVNULL)
        while server.answered.total() < 100:
            assert process.poll() is None
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        time.sleep(0.1)  # what was on its way is answered, to nobody
        kept, before = cached(tmp_path / "run"), server.seen.copy()
        assert 100 - CONCURRENCY <= len(kept) < 340
        Pipeline.from_mapping(config).run()
        asked_again = {canonical(server.bodies[key]) for key in server.seen if server.seen[key] > before[key]}
        assert not asked_again & kept
        assert asked_again | kept == cached(tmp_path / "run")
        twice = [key for key, count in server.answered.items() if count > 1]
        assert len(twice) <= CONCURRENCY
        answered = set(server.answered)
        # Changed settings of the asking change nothing; another prompt asks for its own answers alone.
        seen = server.seen.total()
        same = Pipeline.from_mapping(recipe(tmp_path, server, tmp_path / "run", concurrency=9, timeout=7))
        assert same.nodes["judge"].artifact.finished
        own = {"again": {"template": "{text} Fill the blank", "map": {"^valuable": "keep"}}}
        Pipeline.from_mapping(recipe(tmp_path, server, tmp_path / "run", own=own)).run()
        assert server.seen.total() - seen >= len(set(server.answered) - answered) == EVERY
        assert max(server.answered[key] for key in set(server.answered) - answered) == 1
    with JudgeServer(4, Faults(odd=ROUGH.odd)) as other:
        Pipeline.from_mapping(recipe(tmp_path, other, tmp_path / "whole")).run()
        assert set(other.answered) == answered
    runs = [digests(tmp_path / name) for name in ("run", "whole")]
    judged = [name for name in runs[1] if name.startswith("judge-")]
    assert len(judged) > 3
    assert all(runs[0][name] == runs[1][name] for name in judged)


# -- configuration -----------------------------------------------------------------------------------------------------


def problems(tmp_path: Path, **fields: Any) -> str:
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n')
    stanza = {"base_url": "http://localhost:1/v1", "model": "m", **fields}
    read = {"sources": {"a": {"path": str(tmp_path / "a.jsonl")}}}
    config = {"run": {"root": str(tmp_path / "run")}, "stages": {"read": read, "judge": stanza}}
    with pytest.raises(ConfigError) as caught:
        Pipeline.from_mapping(config)
    return str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"base_url": "localhost:8000"}, "base_url: must be an address that begins with http:// or https://"),
        ({"base_url": "http://me:secret@host/v1"}, "must not hold a name, a password or a query"),
        ({"base_url": "http://h/v1/chat/completions"}, "must end before /chat/completions"),
        ({"base_url": "http://[::1"}, "must be an address"),
        ({"base_url": "http://host:99999/v1"}, "must be an address"),
        ({"base_url": "http://ho st/v1"}, "must be an address"),
        ({"base_url": "file:///v1"}, "must be an address"),
        ({"model": ""}, "at least 1 character"),
        ({"api_key_env": "sk-secret"}, "must be the name of an environment variable"),
        ({"api_key_env": "NOT_SET_ANYWHERE"}, "NOT_SET_ANYWHERE is not set\n    export NOT_SET_ANYWHERE=..."),
        ({"api_key_env": "HAS_A_SPACE"}, "what is in HAS_A_SPACE is no key"),
        ({"prompts": ["yesn"]}, "did you mean 'yesno'?"),
        ({"prompts": []}, "there is no prompt"),
        ({"prompts": ["yesno", "yesno"]}, "stands here twice"),
        ({"own": {"yesno": {"template": "{text}", "map": {"a": "keep"}}}}, "a shipped prompt is called 'yesno' too"),
        ({"own": {"x_answer": {"template": "{text}", "map": {"a": "keep"}}}}, "ends with _answer"),
        ({"own": {"Bad Name": {"template": "{text}", "map": {"a": "keep"}}}}, "must match"),
        ({"own": {"x": {"template": "text", "map": {"a": "keep"}}}}, "stages.judge.own.x.template: must have {text}"),
        ({"documents": 1.5}, "documents: must be a number of documents (1 or more) or a share"),
        ({"documents": 0}, "a share of them (above 0, at most 1.0), got 0"),
        ({"documents": 0.0}, "a share of them"),
        ({"documents": True}, "documents"),
        ({"temperature": -1}, "at least 0"),
        ({"extra": {"stream": True}}, "extra.stream: cannot be set here"),
        ({"extra": {"seed": 1}}, "use the field `seed`"),
        ({"cache": "s3://bucket/cache"}, "is not a local path"),
        ({"tempreature": 1}, "did you mean 'temperature'?"),
    ],
)
def test_mistakes(tmp_path: Path, fields: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAS_A_SPACE", "sk secret")
    said = problems(tmp_path, **fields)
    assert message in said
    assert "secret" not in said


def test_the_fingerprint_is_of_what_answers_depend_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "secret")
    plain = {"base_url": "http://a/v1", "model": "m"}

    def identity(**fields: Any) -> str:
        return json.dumps(Judge(**{**plain, **fields}).identity())

    elsewhere = {"base_url": "http://b/v1", "api_key_env": "SOME_KEY", "concurrency": 2, "requests_per_second": 1.0}
    elsewhere |= {"timeout": 1.0, "retries": 1, "backoff": 2.0, "max_unanswered": 0.5, "cache": "x"}
    for field, value in elsewhere.items():
        assert identity(**{field: value}) == identity(), field
    own = {"x": Prompt(template="{text}", map={"a": "keep"})}
    matter = {"model": "n", "temperature": 0.5, "seed": 1, "max_tokens": 9, "extra": {"top_p": 1}, "max_chars": 100}
    matter |= {"documents": 9, "prompts": ("yesno",), "own": own, "answer_chars": 0}
    said = [identity(**{field: value}) for field, value in matter.items()]
    assert len({identity(), *said}) == len(matter) + 1
    assert "secret" not in "".join(said)


# -- together ----------------------------------------------------------------------------------------------------------


def test_together_they_beat_the_best_prompt(tmp_path: Path) -> None:
    """Over HTTP with trouble: five noisy prompts, of which `rubric` repeats `yesno`."""
    votes, truth, took = judged(0, 250, tmp_path, 16)
    assert took["failed"] > 100
    found, pairs = accuracies(votes, truth)
    assert found["label model"] > found["best prompt"] + 0.03
    assert found["label model"] > found["majority"]
    assert pairs == [("yesno", "rubric")]
    assert (votes[:, list(JURORS).index("defects")] < 1).all()

"""Ask a chat model about a sample of the documents, with several prompts; each prompt's votes are a column.

Workers draw the sample and write the columns; the driver asks, since the endpoint is what takes time. Answers are
cached as they arrive, by request, beside the run: what was answered once is never asked again, neither after a kill nor
after a change of the configuration.
"""

import logging
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, JsonValue, field_validator

from curate import storage
from curate.artifact import Artifact, Shard, all_kept, receipts_folder, write_receipt
from curate.errors import Problem, RunError
from curate.extras import missing
from curate.stage import Known, Stage
from curate.storage import InputPath
from curate.table import ParquetWriter, Table, read_part
from curate.weak.judge.prompts import VOTES, Prompt, Shipped, chosen
from curate.weak.manifest import AskResult, JudgeBody, JudgeFacts, RequestCounts

if TYPE_CHECKING:
    from curate.engine.context import Context
    from curate.weak.judge.asking import Asker, Outcome
    from curate.weak.judge.tally import Tally

log = logging.getLogger("curate")

SAMPLE, ANSWERS, ASK = "_sample", "_answers", "ask"
SALT = "judge"  # of the sample's hash: all judges of a run see the same documents, and a larger sample holds a smaller
VOTE = pa.dictionary(pa.int32(), pa.string())
RESERVED = frozenset({"model", "messages", "temperature", "seed", "max_tokens", "stream", "n"})
PROMPT_NAME = r"^[a-z][a-z0-9_]*$"
# Fields that change how an endpoint is asked and not what it answers.
ASKING = ("base_url", "api_key_env", "concurrency", "requests_per_second", "timeout", "retries", "backoff")


@dataclass(frozen=True)
class Question:
    """A prompt and an excerpt of a document; `shard` and `row` say of which."""

    shard: str
    row: int
    prompt: str
    text: str


class Judge(Stage):
    """Ask an OpenAI-compatible endpoint about a hash sample of the documents, once with each prompt.

    Writes, after the stage's name, ``judge_PROMPT`` (``keep``, ``drop`` or ``abstain``; null for a document that was
    not asked about, or got no answer) and ``judge_PROMPT_answer``, the beginning of what the model said.

    Examples
    --------
    >>> stage = Judge(base_url="http://localhost:8000/v1", model="m", prompts=("yesno", "cloze"), answer_chars=0)
    >>> stage.columns().names
    ['judge_yesno', 'judge_cloze']
    """

    stage: Literal["judge"] = "judge"
    name: str = "judge"
    version: ClassVar[int] = 1
    seeded: ClassVar[bool] = True

    base_url: str = Field(description="address of the endpoint, up to what comes before /chat/completions (often /v1)")
    model: str = Field(min_length=1, description="name of the model, as the endpoint knows it")
    api_key_env: str | None = Field(
        default=None, description="name of the environment variable that holds the key; never the key itself"
    )
    documents: int | float = Field(
        default=5000,
        description="documents drawn by hash of the id: a number, or a share (0.01; 1.0 for all); blank ones that are "
        "drawn are not asked about",
    )
    prompts: tuple[Shipped, ...] = Field(
        default=("open", "yesno", "rubric", "defects", "cloze"), description="shipped prompts, each a labeling function"
    )
    own: dict[Annotated[str, Field(pattern=PROMPT_NAME)], Prompt] = Field(
        default={}, description="prompts of your own by name, beside the shipped ones"
    )
    max_chars: int = Field(default=4000, ge=100, description="characters of a document that the model is shown")
    temperature: float | None = Field(default=0.0, ge=0, description="of sampling; null: not sent")
    seed: int | None = Field(default=0, ge=0, description="the endpoint's seed; null: not sent")
    max_tokens: int | None = Field(
        default=256, ge=1, description="longest answer; a longer one is cut and abstains; null: not sent"
    )
    extra: dict[str, JsonValue] = Field(default={}, description="further parameters of each request, sent as they are")
    answer_chars: int = Field(default=200, ge=0, description="characters of answers that are kept as columns; 0: none")
    concurrency: int = Field(default=8, ge=1, le=1024, description="requests in flight")
    requests_per_second: float | None = Field(default=None, gt=0, description="most requests begun in a second")
    timeout: float = Field(default=120.0, gt=0, description="seconds to wait for an answer")
    retries: int = Field(default=5, ge=0, le=100, description="further attempts at a request that failed")
    backoff: float = Field(default=1.0, ge=0, description="seconds before the second attempt, doubled with each")
    max_unanswered: float = Field(
        default=0.01, ge=0, le=1, description="share of questions that may stay unanswered before the run stops"
    )
    cache: InputPath | None = Field(
        default=None, description="file of the answers; unless given, judge.sqlite in run.root"
    )

    @field_validator("documents")
    @classmethod
    def _number_or_share(cls, documents: float) -> float:
        """1 is one document, and 1.0 all of them."""
        if not (documents >= 1 if isinstance(documents, int) else 0 < documents <= 1):
            raise ValueError("must be a number of documents (1 or more) or a share of them (above 0, at most 1.0)")
        return documents

    @field_validator("base_url")
    @classmethod
    def _without_slash(cls, url: str) -> str:
        return url.rstrip("/")

    def asked(self) -> dict[str, Prompt]:
        """The prompts by name, in the order of their columns."""
        return chosen(self.prompts, self.own)

    def parameters(self) -> dict[str, Any]:
        """What is sent with each request beside the model's name and the messages."""
        own = {field: getattr(self, field) for field in ("temperature", "seed", "max_tokens")}
        return {field: value for field, value in own.items() if value is not None} | self.extra

    def requires(self) -> tuple[str, ...]:
        """The text, and the id that the sample is drawn by."""
        return ("id", "text")

    def columns(self) -> pa.Schema:
        """A vote per prompt, and then an answer per prompt."""
        names = list(self.asked())
        fields = [(f"{self.name}_{name}", VOTE) for name in names]
        if self.answer_chars:
            fields += [(f"{self.name}_{name}_answer", pa.string()) for name in names]
        return pa.schema(fields)

    def identity(self) -> dict[str, Any]:
        """What the answers depend on: the model by its name and not by its address, and the prompts by their words."""
        apart = (*ASKING, "max_unanswered", "cache", "own")
        fields = {field: value for field, value in super().identity().items() if field not in apart}
        return fields | {"prompts": {name: prompt.model_dump(mode="json") for name, prompt in self.asked().items()}}

    def check(self, known: Known) -> Iterable[Problem]:
        """The address is one, the key is there, names do not clash, the library is installed."""
        yield from self._address_problems()
        yield from self._key_problems()
        yield from self._prompt_problems()
        for field in self.extra:
            if field in RESERVED:
                hint = f"use the field `{field}`" if field in type(self).model_fields else ""
                yield Problem(("extra", field), "cannot be set here", hint)
        if self.cache is not None and not storage.is_local(self.cache):
            yield Problem(("cache",), f"{self.cache!r} is not a local path, which SQLite needs")
        if absent := missing("judge", "httpx"):
            yield Problem((), *absent)

    def _prompt_problems(self) -> Iterator[Problem]:
        if not self.asked():
            yield Problem(("prompts",), "there is no prompt", "name shipped ones, or write some under `own`")
        for position, name in enumerate(self.prompts):
            if name in self.prompts[:position]:
                yield Problem(("prompts", position), f"{name!r} stands here twice")
        for name in self.own:
            if name in self.prompts:
                yield Problem(("own", name), f"a shipped prompt is called {name!r} too", "choose another name")
            elif name.endswith("_answer"):
                yield Problem(("own", name), f"{name!r} ends with _answer, as the columns of answers do")

    def _address_problems(self) -> Iterator[Problem]:
        try:
            parts = urlsplit(self.base_url)
            port = parts.port
        except ValueError:  # brackets that do not close, a port that is none
            parts, port = urlsplit(""), None
        if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"\s", self.base_url) or port == 0:
            yield Problem(("base_url",), "must be an address that begins with http:// or https://")
        elif parts.username or parts.password or parts.query:
            yield Problem(("base_url",), "must not hold a name, a password or a query", "`api_key_env` is for keys")
        elif parts.path.endswith("/chat/completions"):
            yield Problem(("base_url",), "must end before /chat/completions, which is added to it")

    def _key_problems(self) -> Iterator[Problem]:
        """Nothing that may be a key is repeated: a name of a variable is known by its capitals."""
        if self.api_key_env is None:
            return
        if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", self.api_key_env):
            rule = "must be the name of an environment variable (capital letters, digits and _), never the key itself"
            yield Problem(("api_key_env",), rule)
        elif not self._key():
            hint = f"export {self.api_key_env}=..."
            yield Problem(("api_key_env",), f"the environment variable {self.api_key_env} is not set", hint)
        elif not re.fullmatch(r"[!-~]+", self._key()):  # what no header takes, httpx would repeat in its error
            yield Problem(
                ("api_key_env",), f"what is in {self.api_key_env} is no key: it has spaces or other characters"
            )

    def _key(self) -> str:
        return os.environ.get(self.api_key_env or "", "").strip()

    def run(self, ctx: "Context") -> JudgeBody:
        """Draw the sample, ask, write the columns."""
        done = next(ctx.artifact.results(ASK, AskResult), None)
        if done:
            facts = done["judge"]
        else:
            self._cache_path(ctx.path)  # complains before any text is read
            rate = _rate(self.documents, ctx.table.rows)
            ctx.map_shards(partial(_sample_shard, self, ctx.table, ctx.artifact, ctx.seed, rate), phase="sample")
            facts = self._ask(ctx)
        ctx.map_shards(partial(_write_shard, self, ctx.artifact))
        for folder in (SAMPLE, ANSWERS):
            storage.remove_tree(f"{ctx.path}/{folder}")
        return {"flow": all_kept(ctx.table.shards), "judge": facts}

    def _ask(self, ctx: "Context") -> JudgeFacts:
        """Put all questions, write the answers per shard, and what came of it into a receipt."""
        from curate.engine.context import Clock
        from curate.weak.judge.tally import Tally

        clock = Clock()
        limit, documents = _limit(ctx, self.documents)
        tally = Tally(list(self.asked()))
        spent = self._put_questions(ctx, limit, documents, tally)
        facts: JudgeFacts = {
            "model": self.model,
            "documents": {"all": ctx.table.rows, "asked": documents},
            **tally.summary(),
        }
        for warning in facts["warnings"]:
            log.warning("%s: %s", self.name, warning)
        result: AskResult = {"judge": facts, "spent": {**spent, "prompts": tally.spent()}}
        write_receipt(receipts_folder(ctx.path, ASK), clock.receipt(ASK, result))
        return facts

    def _put_questions(self, ctx: "Context", limit: int | None, documents: int, tally: "Tally") -> RequestCounts:
        """Ask and write; returns how many requests were sent, and which of them failed."""
        from curate.progress import track
        from curate.weak.judge.asking import Asker, StoppedError, in_order
        from curate.weak.judge.cache import Cache
        from curate.weak.judge.endpoint import Endpoint

        prompts, total = self.asked(), documents * len(self.asked())
        stop = threading.Event()
        cache = Cache(self._cache_path(ctx.path))
        endpoint = Endpoint(self._settings(), stop)
        allowed = int(self.max_unanswered * total)
        asker = Asker(self.model, self.parameters(), cache, endpoint, stop, allowed, total)
        requests = documents * sum(1 if prompt.then is None else 2 for prompt in prompts.values())
        log.info(
            "%s: %d of %d documents, %d prompts: at most %d requests to %s; the cache holds %d answers",
            *(self.name, documents, ctx.table.rows, len(prompts), requests, self.base_url, len(cache)),
        )
        storage.remove_tree(f"{ctx.path}/{ANSWERS}")
        answers = in_order(partial(_ask, asker, prompts), _questions(ctx, limit, prompts), self.concurrency, stop)
        try:
            _write_answers(self, ctx, track(answers, total, f"{ctx.artifact.name} ask"), tally)
        except StoppedError:
            if isinstance(asker.failure, RunError):
                raise RunError(f"{self.name}: {asker.failure}") from None
            raise asker.failure or RunError(f"{self.name} was stopped") from None
        finally:
            answers.close()  # waits for what is in flight
            endpoint.close()
            cache.close()
        return {"requests": endpoint.requests, "failed": dict(sorted(endpoint.failures.items()))}

    def _settings(self) -> Any:
        from curate.weak.judge.endpoint import EndpointSettings

        fields = ("base_url", "concurrency", "requests_per_second", "timeout", "retries", "backoff")
        return EndpointSettings(key=self._key() or None, **{field: getattr(self, field) for field in fields})

    def _cache_path(self, artifact: str) -> str:
        from curate.weak.judge.cache import default_path

        if self.cache is None and not storage.is_local(artifact):
            raise RunError(f"{self.name}: run.root is no local folder, so `cache` has to name a local file for answers")
        return self.cache or default_path(artifact)


def _rate(documents: float, rows: int) -> float:
    """Share of the ids that is drawn; for a number of documents, six standard deviations more, to be cut to it."""
    if isinstance(documents, float):
        return documents
    return min(1.0, (documents + 6 * documents**0.5) / max(rows, 1))


def _sample_shard(
    stage: Judge, table: Table, artifact: Artifact, seed: int, rate: float, shard: Shard
) -> dict[str, Any]:
    """Write the excerpts of the documents whose hash is below the rate; those of white space alone are left out."""
    from curate.text.excerpts import PLACES, excerpt
    from curate.text.hashing import hash64, id_bytes

    views = sorted({prompt.view for prompt in stage.asked().values()})
    places = [PLACES if view == "spread" else (view,) for view in views]
    schema = pa.schema([("priority", pa.uint64()), ("row", pa.int64()), *((view, pa.large_string()) for view in views)])
    ids = id_bytes(table.read(shard, ["id"]).column("id"))
    priority = hash64(seed, SALT, ids)
    drawn = priority / 2.0**64 <= rate
    blank, start = 0, 0
    with ParquetWriter(f"{artifact.path}/{SAMPLE}/{shard.name}.parquet", schema) as writer:
        for batch in table.batches(shard, ["text"]) if drawn.any() else ():
            rows = np.flatnonzero(drawn[start : start + len(batch)])
            texts = batch.column("text").take(pa.array(rows)).to_pylist()
            shown = [place for place, text in enumerate(texts) if text.strip()]
            blank += len(texts) - len(shown)
            rows = rows[shown] + start
            excerpts = [[excerpt(texts[row], stage.max_chars, where) for row in shown] for where in places]
            columns = map(pa.array, (priority[rows], rows, *excerpts), schema.types)
            writer.write(pa.Table.from_arrays(list(columns), schema=schema))
            start += len(batch)
    return {"documents": writer.rows, "blank": blank}


def _limit(ctx: "Context", documents: float) -> tuple[int | None, int]:
    """The highest hash that is asked about, None for all that were drawn; and how many documents these are."""
    paths = [f"{ctx.path}/{SAMPLE}/{shard.name}.parquet" for shard in ctx.table.shards]
    hashes = [read_part(path, ["priority"]).column("priority").to_numpy() for path in paths]
    drawn = np.concatenate([np.zeros(0, np.uint64), *hashes])
    if isinstance(documents, float) or len(drawn) <= documents:
        return None, len(drawn)
    limit = np.partition(drawn, documents - 1)[documents - 1]
    return int(limit), int((drawn <= limit).sum())


def _questions(ctx: "Context", limit: int | None, prompts: Mapping[str, Prompt]) -> Iterator[Question]:
    """Every prompt about every document of the sample, shard by shard."""
    for shard in ctx.table.shards:
        for drawn in read_part(f"{ctx.path}/{SAMPLE}/{shard.name}.parquet").to_batches(max_chunksize=64):
            for document in drawn.to_pylist():
                if limit is None or document["priority"] <= limit:
                    for name, prompt in prompts.items():
                        yield Question(shard.name, document["row"], name, document[prompt.view])


def _ask(asker: "Asker", prompts: Mapping[str, Prompt], question: Question) -> "tuple[Question, Outcome]":
    return question, asker.question(prompts[question.prompt], question.text)


def _write_answers(
    stage: Judge, ctx: "Context", outcomes: "Iterable[tuple[Question, Outcome]]", tally: "Tally"
) -> None:
    """Write each shard's answers when its last one is there, a row per document, and count."""
    rows: list[dict[str, Any]] = []
    current = ""

    def flush() -> None:
        if rows:
            with ParquetWriter(f"{ctx.path}/{ANSWERS}/{current}.parquet", schema) as writer:
                writer.write(pa.Table.from_pylist(rows, schema))
            rows.clear()

    schema = pa.schema([("row", pa.int64()), *((field.name, pa.string()) for field in stage.columns())])
    for question, outcome in outcomes:
        if question.shard != current:
            flush()
            current = question.shard
        if not rows or rows[-1]["row"] != question.row:
            rows.append({"row": question.row})
        rows[-1][f"{stage.name}_{question.prompt}"] = outcome.vote
        if stage.answer_chars and outcome.vote is not None:
            rows[-1][f"{stage.name}_{question.prompt}_answer"] = outcome.said[: stage.answer_chars]
        tally.add(question.prompt, outcome, document=(question.shard, question.row))
    flush()


def _write_shard(stage: Judge, artifact: Artifact, shard: Shard) -> dict[str, Any]:
    """The columns of one shard: answers at the rows that were asked about, null elsewhere."""
    schema, path = stage.columns(), f"{artifact.path}/{ANSWERS}/{shard.name}.parquet"
    answers = read_part(path) if storage.exists(path) else None
    with ParquetWriter(artifact.part(shard.name), schema) as writer:
        writer.write(pa.table([_scattered(answers, field, shard.rows) for field in schema], schema=schema))
    return {"rows": shard.rows, "asked": 0 if answers is None else answers.num_rows}


def _scattered(answers: pa.Table | None, field: pa.Field, rows: int) -> pa.Array:
    """A column of `rows` values, those of the answers in their rows."""
    place = np.full(rows, -1, np.int64)
    if answers is not None:
        place[answers["row"].to_numpy()] = np.arange(answers.num_rows)
    at = pa.array(place, mask=place < 0)
    given = pa.nulls(0, pa.string()) if answers is None else answers[field.name].combine_chunks()
    if not pa.types.is_dictionary(field.type):
        return given.take(at)
    votes = pa.array(VOTES)
    codes = pc.call_function("index_in", [given], pc.SetLookupOptions(votes)).take(at)
    return pa.DictionaryArray.from_arrays(codes, votes)

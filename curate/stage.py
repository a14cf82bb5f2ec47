"""A stage: one frozen pydantic model whose fields are its configuration, the columns it needs and those it promises."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from curate.artifact import Body, file_hash, package_versions
from curate.errors import Problem
from curate.user_code import code_hashes

if TYPE_CHECKING:
    from curate.engine.context import Context
    from curate.text.batch import TextBatch

Annotate = Callable[["TextBatch", pa.RecordBatch], pa.RecordBatch]
"""Texts and the required columns of a batch in; the promised columns of the same rows out."""

DEFINED: dict[str, type["Stage"]] = {}
"""Stage classes that are defined outside of this package, by kind; `curate.registry` looks there last."""


@dataclass(frozen=True)
class Known:
    """What is known of a pipeline before any data is read; what a stage's `check` may rely on.

    Parameters
    ----------
    columns
        Columns that the stages before this one promise, with their types.
    sources
        Estimated bytes of text per source.
    stages
        The stages before this one, by name.
    seed
        The run's seed.
    """

    columns: pa.Schema
    sources: Mapping[str, int]
    stages: Mapping[str, "Stage"]
    seed: int = 0


@dataclass(frozen=True)
class Estimate:
    """What a table-making stage expects to produce, from the sizes of its inputs alone.

    Parameters
    ----------
    sources
        Bytes of text per source.
    shards
        Number of shards.
    """

    sources: Mapping[str, int]
    shards: int


class Stage(BaseModel):
    """One node of the pipeline: what it reads, what it promises, and how to produce it.

    A subclass names its kind with ``stage: Literal["..."] = "..."``, by which `curate.registry` finds it, and overrides
    `run` (or, as an `Annotator`, `columns` and `load`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: ClassVar[int] = 1
    """Raised when the same configuration gives different bytes; part of the fingerprint."""
    seeded: ClassVar[bool] = False
    """Whether the run's seed changes the output; if so it is part of the fingerprint."""
    makes_table: ClassVar[bool] = False
    """Whether the output is a table of documents (`read`, `extract`, `clean`) and not a sidecar of one."""

    stage: Any = Field(default="", description="which kind of stage this is; the key of the stanza unless given")
    name: str = Field(default="", description="the node's name in the pipeline: the key of its stanza")
    after: tuple[str, ...] | None = Field(
        default=None, description="stages that come before this one; unless given, all stanzas above it"
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Note a class of a script or notebook under its kind; the registry finds those of `curate` by module."""
        if kind_of(cls) and not cls.__module__.startswith("curate."):
            DEFINED[kind_of(cls)] = cls

    def requires(self) -> tuple[str, ...]:
        """Columns that this stage reads; documents' own columns included."""
        return ()

    def place(self, column: str) -> tuple[str | int, ...]:
        """Where in the stanza the required `column` is named, so that an unknown one can be pointed at."""
        return ()

    def references(self) -> tuple[str, ...]:
        """Names of stages whose artifacts (not columns) this stage reads."""
        return ()

    def columns(self) -> pa.Schema:
        """Sidecar columns that this stage promises, in order; empty for a stage that writes no sidecar."""
        return pa.schema([])

    def upstream(self) -> tuple["Stage", ...]:
        """Stages that the pipeline inserts right before this one, such as the signatures that MinHash compares."""
        return ()

    def companions(self, beside: Sequence["Stage"]) -> tuple["Stage", ...]:
        """Stages that the pipeline adds at the end, such as one that compares measurements of several stages.

        The pipeline adds a companion once, even if several stages ask for an equal one, and names it by its kind.

        Parameters
        ----------
        beside
            All stages that read the same table as this one, itself included.
        """
        return ()

    def files(self) -> dict[str, str]:
        """Paths of files that the stage reads beside the table, by the field that names them.

        They enter the fingerprint by content hash, never by path, and must exist before the run starts.
        """
        return {}

    def packages(self) -> tuple[str, ...]:
        """Distributions whose answers are part of what the stage writes; their versions enter the fingerprint."""
        return ()

    def where_to_get(self, field: str) -> str:
        """What to do when the file that `field` names is not there."""
        return ""

    def estimate(self) -> Estimate | None:
        """What comes out, judged before any data is read; None for a stage that makes no table."""
        return None

    def sample(self, documents: int, text_bytes: int) -> dict[str, pa.Table] | None:
        """A few documents of each source, always the same ones; None for a stage that reads no raw input.

        Parameters
        ----------
        documents
            Documents wanted of each source.
        text_bytes
            Bytes of text of a source after which it is enough.
        """
        return None

    def check(self, known: Known) -> Iterable[Problem]:
        """Problems that can be seen before any data is read; paths relative to the stage's stanza.

        Unknown columns of `requires`, unknown `references` and missing `files` are reported by the pipeline.
        """
        return ()

    def run(self, ctx: "Context") -> Body:
        """Produce the artifact at ``ctx.path``; what is returned goes into its manifest.

        The result's ``flow`` accounts for every document per source,
        ``{source: {"in": n, "kept": n, "dropped": {reason: n}, "quarantined": {reason: n}}}``, and the pipeline
        asserts that ``in = kept + dropped + quarantined``.
        """
        raise TypeError(f"stage {self.stage!r} does not say how to run")

    def identity(self) -> dict[str, Any]:
        """The configuration as it enters the fingerprint: files by their content, and packages by their version."""
        config = self.model_dump(mode="json", exclude={"name", "after"})
        config |= {field: file_hash(path) for field, path in self.files().items()}
        packages = self.packages()
        return config | ({"packages": package_versions(packages)} if packages else {})

    def payload(self, seed: int, inputs: Mapping[str, str]) -> dict[str, Any]:
        """What the fingerprint is made of.

        Parameters
        ----------
        seed
            The run's seed, which enters where `seeded` is set.
        inputs
            Fingerprints of the artifacts read, by stage name.
        """
        config = {field: _ordered(value) for field, value in self.identity().items()}
        payload = {"config": config, "version": self.version, "inputs": dict(inputs)}
        code = code_hashes(type(self).__module__)  # of a plugin, whose content is part of what it writes
        return payload | ({"code": code} if code else {}) | ({"seed": seed} if self.seeded else {})


def kind_of(model: type[Stage]) -> str:
    """The kind of a stage class, which is the default of its ``stage`` field; empty for a base class."""
    return model.model_fields["stage"].default


class Annotator(Stage):
    """Adds columns; never drops, adds or reorders rows. Annotators that are ready share one pass over the text."""

    def prepare(self, ctx: "Context") -> None:
        """Make, before the pass and under ``ctx.path``, what all workers share; most annotators need nothing."""

    def load(self) -> Annotate:
        """The annotating function; called once per worker process, so this is where models load and kernels import."""
        raise TypeError(f"annotator {self.stage!r} does not say how to annotate")

    def load_prepared(self, path: str) -> Annotate:
        """The same, of an annotator that has `prepare` make something: it lies below `path`."""
        return self.load()

    def conclude(self, ctx: "Context") -> Mapping[str, Any]:
        """What the manifest says beside ``flow``, from the parts that the pass has written; ``ctx.map`` reads them."""
        return {}


def _ordered(value: Any) -> Any:
    """Mappings as lists of pairs: the order of rules and of sources counts, and canonical JSON sorts keys."""
    if isinstance(value, Mapping):
        return [[key, _ordered(inner)] for key, inner in value.items()]
    return [_ordered(inner) for inner in value] if isinstance(value, list) else value

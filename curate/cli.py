"""The command line: thin verbs over the library; the only place that prints."""

import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from curate import __version__
from curate.errors import ConfigError, RunError

if TYPE_CHECKING:
    from curate.pipeline import Pipeline
    from curate.runs.run import Run

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Curate pretraining corpora: read, deduplicate, score, select, mix to budgets, shard, report.",
)
models = typer.Typer(no_args_is_help=True, help="Models that others trained.")
app.add_typer(models, name="models")

FAILED, BAD_CONFIG, INTERRUPTED = 1, 2, 130

ConfigFile = Annotated[str, typer.Argument(metavar="CONFIG", help="YAML file of the pipeline.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[STAGE.FIELD=VALUE]...", help="Fields to set, for example minhash.bands=20."),
]
RunDirectory = Annotated[str, typer.Argument(metavar="RUN", help="A run's directory.")]


@app.command()
def run(config: ConfigFile, overrides: Overrides = None) -> None:
    """Run a pipeline; what is finished already is not done again."""
    _run(config, overrides or [], "the same command")


@app.command()
def dedup(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT...", help="Files, folders or globs; NAME=PATH names one.")
    ],
    out: Annotated[str, typer.Option(help="Folder for kept documents, pairs, clusters and report.")],
    bands: Annotated[int | None, typer.Option(help="Bands of the signature [14].")] = None,
    rows: Annotated[int | None, typer.Option(help="Rows of a band [8].")] = None,
    ngram: Annotated[int | None, typer.Option(help="Words or characters per shingle [5].")] = None,
    unit: Annotated[str | None, typer.Option(help="What shingles are made of: word (the default) or char.")] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Least Jaccard similarity to what is kept; chooses bands and rows unless given."),
    ] = None,
    recall: Annotated[float | None, typer.Option(help="Chance of finding a pair at the threshold [0.95].")] = None,
    within: Annotated[
        str, typer.Option(help="Compare all, within each source, or within each value of a field.")
    ] = "all",
    keep: Annotated[
        list[str] | None, typer.Option(help="Which is kept: longest, or a column and asc or desc; can be repeated.")
    ] = None,
    priority: Annotated[list[str] | None, typer.Option(help="Sources that are kept first; can be repeated.")] = None,
    verify: Annotated[
        str | None, typer.Option(help="Compare candidates by jaccard (the default), signature, or off.")
    ] = None,
    closure: Annotated[bool, typer.Option("--closure", help="Drop what is similar by a chain alone, too.")] = False,
    min_cluster_size: Annotated[int | None, typer.Option(help="Leave smaller clusters alone [2].")] = None,
    index: Annotated[
        list[str] | None, typer.Option(help="Results of an earlier dedup, whose documents stay; can be repeated.")
    ] = None,
    text: Annotated[str, typer.Option(help="Field of the text.")] = "text",
    id_field: Annotated[
        str | None, typer.Option("--id", help="Field of the document's own id; id unless given.")
    ] = None,
    max_text_bytes: Annotated[str, typer.Option(help="Longest text that is kept.")] = "256MB",
    max_bad_rows: Annotated[
        float | None, typer.Option(help="Share of a source's rows that may be bad before the run stops [0.01].")
    ] = None,
    max_bad_files: Annotated[
        float | None, typer.Option(help="Share of a source's files that may be bad before the run stops [0.01].")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; one per core unless given.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Chooses the hash functions.")] = 0,
) -> None:
    """Remove near-duplicates from any files, and account for each: no configuration needed."""
    from curate.commands.dedup import DedupRequest, hand_over, is_done, pipeline_of

    minhash = {
        "bands": bands,
        "rows": rows,
        "ngram": ngram,
        "unit": unit,
        "threshold": threshold,
        "keep": keep,
        "priority": priority,
        "verify": verify,
        "closure": closure,
        "min_cluster_size": min_cluster_size,
        "index": index,
    }
    source = {"text": text, "id": id_field}
    read = {"max_text_bytes": max_text_bytes, "max_bad_rows": max_bad_rows, "max_bad_files": max_bad_files}
    request = DedupRequest(inputs, out.rstrip("/") or out[:1], source, read, minhash, recall, within, workers, seed)
    pipeline = pipeline_of(request)
    done = is_done(pipeline, request.out)
    if not done:
        _run_pipeline(pipeline, "the same command")
    _say_deduplicated(hand_over(pipeline, request.out), request.out, done)


@app.command()
def thresholds(
    good: Annotated[str, typer.Argument(metavar="GOOD", help="A finished run, or a file, folder or glob.")],
    bad: Annotated[str, typer.Argument(metavar="BAD", help="Likewise, of what is to be dropped.")],
    max_good_loss: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the good documents that may be lost.")
    ] = 0.02,
    ignore: Annotated[
        list[str] | None, typer.Option(help="Signal to leave out, * for any characters; can be repeated.")
    ] = None,
    out: Annotated[
        str | None, typer.Option(help="Folder for the results, and for the runs that measure files.")
    ] = None,
    text: Annotated[str, typer.Option(help="Field of the text, where files are measured.")] = "text",
    workers: Annotated[int | None, typer.Option(help="Processes; one per core unless given.")] = None,
) -> None:
    """Compare the signals of a good and a bad corpus, and propose rules for `select`."""
    from tempfile import TemporaryDirectory

    from curate.commands.thresholds import compare, lines, request_of, write

    with TemporaryDirectory(prefix="curate-thresholds-") as temporary:
        request = request_of(good, bad, out.rstrip("/") if out else temporary, text, workers)
        for pipeline in request.pipelines.values():
            _run_pipeline(pipeline, "the same command")
        comparison = compare(request, max_good_loss, ignore or [])
    for line in lines(comparison):
        typer.echo(line)
    if out:
        write(comparison, request.out)
        typer.echo(f"\nin {out}: thresholds.json, thresholds.yaml, thresholds.html")


@app.command()
def label(
    run: RunDirectory,
    n: Annotated[
        int, typer.Option("--n", min=1, help="Documents to ask about; more later go on where fewer ended.")
    ] = 200,
    by: Annotated[str, typer.Option(help="Column whose values divide the documents.")] = "source",
    score: Annotated[
        str | None, typer.Option(help="Column of numbers that divides them further; that of `weak` unless given.")
    ] = None,
    groups: Annotated[int, typer.Option(min=1, max=100, help="Groups of the score, equally large.")] = 5,
    out: Annotated[str, typer.Option(help="Gold file that answers are appended to.")] = "gold.jsonl",
    web: Annotated[bool, typer.Option("--web", help="Ask in a page for a browser on this machine.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page; any free one for 0.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws other documents.")] = 0,
    chars: Annotated[int, typer.Option(min=100, help="Characters of a document that are shown.")] = 2400,
    show_scores: Annotated[bool, typer.Option("--show-scores", help="Show the score, which may lead you.")] = False,
) -> None:
    """Ask people about a random sample of a run's documents, and write a gold file for `weak`."""
    from curate.commands.label import conclusion, introduction, subject_of
    from curate.runs.run import Run
    from curate.weak.gold.ask import ask
    from curate.weak.gold.journal import Journal
    from curate.weak.gold.web import serve

    root = Run(run).root
    subject = subject_of(root, n, by=by, score=score, groups=groups, seed=seed, show_scores=show_scores)
    with Journal(out) as journal:
        for line in introduction(subject, journal, web=web):
            typer.echo(line)
        questions = subject.questions(journal, chars, show_scores=show_scores)
        stopped = False
        try:
            if web:
                serve(questions, port, typer.echo)
            else:
                ask(questions, sys.stdin, sys.stdout)
        except KeyboardInterrupt:
            stopped = True
        typer.echo()
        for line in conclusion(subject, journal):
            typer.echo(line)
    if stopped:
        _stop("stopped; to go on, run the same command again", INTERRUPTED)


@app.command()
def plan(
    config: ConfigFile,
    overrides: Overrides = None,
    no_sample: Annotated[bool, typer.Option("--no-sample", help="Do not try the rules on a few documents.")] = False,
) -> None:
    """Show the graph of stages: what is cached, what would run and why; tries the rules on a sample, runs nothing."""
    from curate.commands.plan import plan as steps_of
    from curate.config.units import format_bytes
    from curate.pipeline import Pipeline

    pipeline = Pipeline.from_yaml(config, overrides or [])
    steps = steps_of(pipeline)
    width = max(len(step.name) for step in steps)
    for step in steps:
        fused = " (one pass over the text)" if step.fused and step.state != "cached" else ""
        after = f"  <- {', '.join(step.after)}" if step.after else ""
        typer.echo(f"{step.name:<{width}}  {step.state:<6}  {step.why}{fused}{after}")
    estimate = pipeline.estimate
    if estimate:
        total = sum(estimate.sources.values())
        typer.echo(f"\nabout {format_bytes(total)} of text in {estimate.shards} shards:")
        for source, size in estimate.sources.items():
            typer.echo(f"  {source}: {format_bytes(size)}")
    if not no_sample:
        _say_sample(pipeline)


@app.command()
def status(run: RunDirectory) -> None:
    """Show how far a run has come."""
    from curate.runs.run import Run

    typer.echo(repr(Run(run)))


@app.command()
def report(run: RunDirectory) -> None:
    """Build report.html and report.json of a run anew."""
    from curate.runs.run import Run

    reported = Run(run)
    reported.report()
    _say_where(reported.root)


@app.command()
def explain(
    run: RunDirectory,
    document: Annotated[str, typer.Argument(metavar="DOC_ID", help="An id (or its beginning), or SOURCE/SOURCE_ID.")],
) -> None:
    """Tell all that a run knows of one document: annotations, rules that fired, duplicates, where it landed."""
    from curate.runs.run import Run

    typer.echo(Run(run).explain(document).render())


@app.command()
def schema() -> None:
    """Print the JSON schema of the configuration, for editors."""
    import orjson

    from curate.config.load import json_schema

    sys.stdout.write(orjson.dumps(json_schema(), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode() + "\n")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where the demo's text and run go.")] = Path("demo"),
    overrides: Overrides = None,
) -> None:
    """Gather real text from this machine and run every stage over it."""
    from curate.commands.demo import CONFIG, gather

    data, partial = out / "data", out / "data.partial"
    if not data.is_dir():
        gather(partial)
        partial.rename(data)
    os.environ["CURATE_DEMO"] = str(out)
    _run(str(CONFIG), [f"run.root={json.dumps(str(out / 'run'))}", *(overrides or [])], f"curate demo --out {out}")


@models.command()
def fetch(name: Annotated[str, typer.Argument(help="Which model: lid.")]) -> None:
    """Fetch a published model with a checked hash."""
    from curate.io.pretrained import PRETRAINED
    from curate.io.pretrained import fetch as fetch_model

    path = fetch_model(name)
    typer.echo(f"{path} (licence: {PRETRAINED[name].licence})")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"curate {__version__}")
        raise typer.Exit


@app.callback()
def _settings(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    del version
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    logging.getLogger("curate").setLevel(logging.INFO)


def _run(config: str, overrides: list[str], again: str) -> None:
    from curate.pipeline import Pipeline

    pipeline = Pipeline.from_yaml(config, overrides)
    _run_pipeline(pipeline, again).report()
    _say_what(pipeline)
    _say_where(pipeline.root)


def _run_pipeline(pipeline: "Pipeline", again: str) -> "Run":
    """Run to the end, or say how to go on."""
    # A batch system's polite kill ends a run like Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        return pipeline.run()
    except KeyboardInterrupt:
        _stop(f"stopped; what is done is kept in {pipeline.root}. To go on, run {again} again", INTERRUPTED)
    except ConfigError as error:
        _stop(f"{error}\nthe run stopped there; what is done is kept in {pipeline.root}", BAD_CONFIG)


def _say_sample(pipeline: "Pipeline") -> None:
    """What the rules do to a sample, where that looks like a mistake."""
    from curate.commands.try_rules import try_rules

    try:
        tried = try_rules(pipeline)
    except (RunError, OSError) as error:
        typer.echo(f"\nthe rules could not be tried on a sample: {error}", err=True)
        return
    for sampled in tried:
        documents = sum(trial.documents for trial in sampled.trials)
        typer.echo(f"\n{sampled.stage.name} on {documents:,} documents, some of each source (--no-sample to skip):")
        warnings = list(sampled.warnings())
        for warning in warnings:
            typer.echo(f"  warning: {warning}")
        if not warnings:
            typer.echo("  no preset or rule drops more than 90 % or nothing of a source")
        if sampled.left_out:
            typer.echo(f"  not tried, since they need all documents: {', '.join(sampled.left_out)}")


def _say_what(pipeline: "Pipeline") -> None:
    """How many records came in, and what became of them; bad files and rows by name of the reason."""
    from curate.artifact import Totals

    for node in pipeline.nodes.values():
        if not node.stage.makes_table and node.stage.stage != "select":
            continue
        totals = Totals()
        for counts in node.artifact.manifest["flow"].values():
            totals.add(counts)
        parts = [f"{totals.counts['in']:,} in", f"{totals.counts['kept']:,} kept"]
        for fate in ("dropped", "quarantined"):
            reasons = {reason: count for reason, count in totals.counts[fate].items() if count}
            if reasons:
                named = ", ".join(f"{reason} {count:,}" for reason, count in reasons.items())
                parts.append(f"{sum(reasons.values()):,} {fate} ({named})")
        typer.echo(f"{node.stage.name}  {', '.join(parts)}")
        for source, files in node.artifact.manifest.get("files", {}).items():
            _warn_of_files(source, files)


def _warn_of_files(source: str, files: dict[str, Any]) -> None:
    """Files of a source that are bad; what could be read of them is among the records."""
    for reason, count in files["quarantined"].items():
        typer.echo(f"warning: {count} of {files['in']} files of {source} in quarantine: {reason}", err=True)


def _say_deduplicated(account: dict[str, Any], out: str, done: bool) -> None:
    """What came in, what is kept, and where all of it is."""
    settings, quality = account["settings"], account["quality"]
    totals = {"in": 0, "kept": 0, "near_duplicate": 0}
    quarantined: dict[str, int] = {}
    for counts in (source["documents"] for source in account["sources"].values()):
        totals["in"] += counts["in"]
        totals["kept"] += counts["kept"]
        totals["near_duplicate"] += sum(counts["dropped"].values())
        for reason, count in counts["quarantined"].items():
            quarantined[reason] = quarantined.get(reason, 0) + count
    if done:
        typer.echo("nothing to do: these results are of the same input and options")
    parts = f"{totals['in']:,} in, {totals['kept']:,} kept, {totals['near_duplicate']:,} dropped as near-duplicates"
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in quarantined.items())
    typer.echo(parts + (f", {sum(quarantined.values()):,} quarantined ({reasons})" if quarantined else ""))
    for source, counts in account["sources"].items():
        _warn_of_files(source, counts["files"])
    least = f"similarity {settings['threshold']:.2f} or more by {settings['verify']}"
    typer.echo(
        f"{settings['bands']} bands x {settings['rows']} rows of {settings['unit']} {settings['ngram']}-grams, "
        f"{'candidates not compared' if settings['verify'] == 'off' else least}"
    )
    chances = {0.8: dict(map(tuple, quality["curve"]))[0.8]}
    if settings["verify"] != "off":
        chances[settings["threshold"]] = settings["chance_at_threshold"]
    said = ", ".join(f"{chance:.3f} at {similarity:.2f}" for similarity, chance in sorted(chances.items()))
    typer.echo(f"chance of finding a pair by its similarity: {said}")
    for name in ("kept", "pairs.parquet", "clusters.parquet", "report.json"):
        typer.echo(f"{name.partition('.')[0]:<8} {out}/{name}")
    typer.echo(f"explain  curate explain {out} DOC_ID")


def _say_where(root: str) -> None:
    from curate import storage

    stages = storage.read_json(f"{root}/run.json")["stages"]
    typer.echo(f"report  {root}/report.html")
    for stage in stages:
        if stage["stage"] == "shards" and storage.exists(f"{root}/{stage['path']}/_manifest.json"):
            typer.echo(f"shards  {root}/{stage['path']}")


def _stop(message: str, code: int) -> NoReturn:
    typer.echo(message, err=True)
    raise SystemExit(code)


def main() -> None:
    """Entry point: run a verb; errors meant for people are printed without a traceback."""
    try:
        app()
    except ConfigError as error:
        count = len(error.problems)
        _stop(f"{error}\n{count} problem{'s' if count > 1 else ''}; nothing was run", BAD_CONFIG)
    except RunError as error:
        _stop(f"{error}", FAILED)
    except KeyboardInterrupt:
        _stop("stopped", INTERRUPTED)

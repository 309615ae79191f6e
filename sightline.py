"""Sightline's command line: one command for each thing a person does. It only composes the floors below.

Results go to stdout, everything else to stderr. With `--json`, stdout carries one JSON document and nothing else.
Exit status: 0 done, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from indexer import logs, printing
from indexer.terminal import printable
from search.errors import SightlineError
from search.resources import version as installed_version

if TYPE_CHECKING:
    from PIL.Image import Image

    from indexer.report import IndexOptions, IndexReport
    from search.answer import Request
    from search.engine import Engine
    from search.home import Home
    from search.milvus.address import Address
    from search.milvus.engine import CollectionEngine

_Amount = TypeVar("_Amount")

app = typer.Typer(
    name="sightline",
    help="Find your photos by describing them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", envvar="SIGHTLINE_HOME", help="Folder that holds the index (default: your data folder)."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else there.")]
DeviceOption = Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where the model runs.")]
EveryOption = Annotated[
    str | None,
    typer.Option(help="Go on, and look through all folders this often, such as 6h (with --watch: 24h by default)."),
]
PollOption = Annotated[
    bool, typer.Option("--poll", help="Ask folders for changes, as is done on network drives anyway.")
]
LogFormatOption = Annotated[
    Literal["text", "json"],
    typer.Option(envvar="SIGHTLINE_LOG_FORMAT", help="What stderr is for: people, or programs, with JSON a line."),
]
LogLevelOption = Annotated[
    Literal["error", "warning", "info", "debug"] | None,
    typer.Option(
        envvar="SIGHTLINE_LOG_LEVEL", help="What is logged; info: each request (default: warning; info in JSON)."
    ),
]
VectorsOption = Annotated[
    str | None,
    typer.Option(help="milvus:URI: answer from that collection alone, without a home's catalog (default: the home's)."),
]
ModelOption = Annotated[
    str | None,
    typer.Option(help="auto, a preset (see `sightline models`), ARCH/PRETRAINED, hf-hub:… or local-dir:…; remembered."),
]


def _home(path: Path | None) -> Home:
    from search.home import Home

    return Home(Path(os.path.expanduser(path))) if path else Home.default()


@contextmanager
def _failing_kindly(as_json: bool, home: Home | None = None) -> Iterator[None]:
    """Turn an expected error into its sentence and exit status 1; any error, where the catalog of `home` is damaged."""
    import sqlite3

    try:
        yield
    except (BrokenPipeError, typer.Exit):  # whoever reads the output has seen enough
        raise
    except KeyboardInterrupt:
        logs.say("stopped; what was done so far is kept.", level=logging.INFO)
        raise typer.Exit(1) from None
    except Exception as error:
        expected = isinstance(error, (SightlineError, sqlite3.Error, OSError))
        sentence = str(error) if isinstance(error, SightlineError) else f"That did not work: {error}."
        if home is not None and not isinstance(error, (SightlineError, OSError)):
            from search.catalog.soundness import explained

            damage = explained(home, error)
            expected, sentence = expected or damage is not None, str(damage or sentence)
        if not expected:
            raise
        logs.say(sentence)
        if as_json:
            print(json.dumps({"error": sentence}))
        raise typer.Exit(1) from None


def _amount(read: Callable[[str], _Amount], text: str | None) -> _Amount | None:
    """What `read` makes of an option's text."""
    try:
        return None if text is None else read(text)
    except SightlineError as error:
        raise typer.BadParameter(str(error)) from None


def _address(vectors: str | None) -> Address | None:
    """What `--vectors` names."""
    from search.milvus.address import Address

    return _amount(Address.parse, vectors)


def _print(document: dict[str, Any], as_json: bool, show: Callable[[], None]) -> None:
    if as_json:
        print(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        show()


@app.callback(invoke_without_command=True)
def main_options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Find your photos by describing them."""
    if version:
        print(f"sightline {installed_version()}")
        raise typer.Exit()


@app.command()
def index(
    paths: Annotated[
        list[str] | None, typer.Argument(help="Folders of photos; none: all known ones.", show_default=False)
    ] = None,
    model: ModelOption = None,
    captions: Annotated[
        str | None,
        typer.Option(
            help="Who writes captions: starter, coca, blip, blip2, vit-gpt2, openai:MODEL or off; remembered."
        ),
    ] = None,
    captions_dry_run: Annotated[
        bool, typer.Option("--captions-dry-run", help="Only say how many pictures openai: would send, and where.")
    ] = False,
    ocr: Annotated[
        bool | None, typer.Option("--ocr/--no-ocr", help="Whether text in pictures is read; remembered.")
    ] = None,
    concepts: Annotated[
        str | None, typer.Option(help="A text file of your own concepts to tag photos with, or off; remembered.")
    ] = None,
    device: DeviceOption = "auto",
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"] | None,
        typer.Option(help="In which numbers the model computes (default: auto); remembered."),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, max=4096, help="Photos in one forward pass (default: by device).")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=256, help="Processes that decode (default: one a core); with ray, its workers."),
    ] = None,
    executor: Annotated[
        Literal["local", "ray"],
        typer.Option(help="Who reads and embeds: this machine, or a Ray cluster (RAY_ADDRESS, else a local one)."),
    ] = "local",
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on, and index what changes in the folders within seconds.")
    ] = False,
    every: EveryOption = None,
    poll: PollOption = False,
    confirm_removals: Annotated[
        bool, typer.Option("--confirm-removals", help="What is gone was removed, however much it is.")
    ] = False,
    include: Annotated[
        list[str] | None,
        typer.Option(help="Only files that match this pattern of gitignore, or several; off: all; remembered."),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="No files or folders that match this pattern, or several; off: none; remembered."),
    ] = None,
    hidden: Annotated[
        bool | None, typer.Option("--hidden/--no-hidden", help="Whether names with a leading dot count; remembered.")
    ] = None,
    min_size: Annotated[
        str | None, typer.Option(help="No smaller files, such as 20kB (default: 0); remembered.")
    ] = None,
    keep_previous: Annotated[
        bool | None,
        typer.Option(
            "--keep-previous/--no-keep-previous", help="Keep what earlier models made of the photos; remembered."
        ),
    ] = None,
    grace: Annotated[
        str | None, typer.Option(help="How long removed photos are kept to come back (default: 30d); remembered.")
    ] = None,
    recall: Annotated[
        float | None,
        typer.Option(
            min=0.5, max=1, help="Share of the best photos that a search of a large library finds; remembered."
        ),
    ] = None,
    vectors: Annotated[
        str | None,
        typer.Option(help="Where vectors are kept: faiss (beside the catalog) or milvus:URI; remembered."),
    ] = None,
    log_format: LogFormatOption = "text",
    log_level: LogLevelOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Index folders of photos, or bring all known ones up to date."""
    from indexer import amounts
    from indexer.report import IndexOptions

    logs.set_up(log_format, log_level)
    min_bytes, kept = _amount(amounts.size, min_size), _amount(amounts.seconds, grace)
    seconds = _amount(amounts.seconds, every)
    if poll and not watch:
        raise typer.BadParameter("--poll is a way to watch: add --watch.")
    _address(vectors)
    if captions_dry_run and (watch or every):
        raise typer.BadParameter("--captions-dry-run is for one run: leave out --watch and --every.")
    place = _home(home)
    with _failing_kindly(as_json, place):
        options = IndexOptions(
            model,
            captions,
            device,
            precision,
            batch_size,
            workers,
            ocr=ocr,
            captions_dry_run=captions_dry_run,
            concepts=concepts,
            confirm_removals=confirm_removals,
            include=None if include is None else tuple(include),
            exclude=None if exclude is None else tuple(exclude),
            hidden=hidden,
            min_bytes=min_bytes,
            keep_previous=keep_previous,
            grace=kept,
            recall=recall,
            executor=executor,
            vectors=vectors,
        )
        if watch or every is not None:
            _follow(place, list(paths or ()), options, watch, seconds, poll, as_json)
            return
        report = _index(place, list(paths or ()), options)
        _print(report.to_json(), as_json, lambda: printing.print_report(report))


@app.command()
def search(
    text: Annotated[str, typer.Argument(help="What the photos show, in the query language.", show_default=False)] = "",
    image: Annotated[
        list[Path] | None, typer.Option(help="A picture to search by, or several; they combine with the text.")
    ] = None,
    negative: Annotated[str, typer.Option("--not", help="What the photos must not show.")] = "",
    mode: Annotated[Literal["auto", "meaning", "words"], typer.Option(help="What the photos are ranked by.")] = "auto",
    limit: Annotated[int, typer.Option("-k", min=1, help="How many hits to show.")] = 10,
    offset: Annotated[int, typer.Option(min=0, help="How many hits to pass over.")] = 0,
    sort: Annotated[Literal["relevance", "date"], typer.Option(help="The order of the hits.")] = "relevance",
    include_all: Annotated[bool, typer.Option("--all", help="Also the hits judged not relevant.")] = False,
    collapse: Annotated[bool, typer.Option("--collapse", help="Photos of one moment as one hit.")] = False,
    device: DeviceOption = "auto",
    vectors: VectorsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find photos by text, by a picture, or by both."""
    from search.answer import Request

    place, address = _home(home), _address(vectors)
    with _failing_kindly(as_json, place):
        request = Request(
            text,
            _pictures(image or []),
            negative=negative,
            mode=mode,
            limit=limit,
            offset=offset,
            sort=sort,
            include_all=include_all,
            collapse=collapse,
        )
        with _engine(place, address, device, request) as engine:
            answer = engine.search(request)
        _print(answer.to_json(), as_json, lambda: printing.print_answer(answer, request))


def _engine(home: Home, address: Address | None, device: str, request: Request) -> Engine | CollectionEngine:
    if address is not None:
        from search.milvus.engine import CollectionEngine

        return CollectionEngine.open(address, device=device)
    from search.questions import ahead_of

    questions = ahead_of(home, request, device)
    from search.engine import Engine  # takes a while, in which the model is being loaded

    return Engine.open(home, device=device, questions=questions)


def _pictures(files: list[Path]) -> tuple[Image, ...]:
    if not files:
        return ()
    from indexer.decoding.decoders import Decoders
    from indexer.files import file_content
    from search.errors import PhotoError

    found = []
    with Decoders.of_process(1) as decoders:
        for file in files:
            try:
                found.append(decoders.picture(file_content(file)))
            except PhotoError as error:
                raise SightlineError(f"{file} cannot be used: {error}.") from error
    return tuple(found)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; beyond loopback, set a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8000,
    token: Annotated[
        str | None, typer.Option(envvar="SIGHTLINE_TOKEN", help="Ask every visitor for this token.")
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A further name by which browsers may call the server.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Index what changes in the folders within seconds, beside serving.")
    ] = False,
    every: EveryOption = None,
    poll: PollOption = False,
    vectors: VectorsOption = None,
    log_format: LogFormatOption = "text",
    log_level: LogLevelOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Serve the web page and the HTTP API."""
    from indexer import amounts
    from web.guards import cookie_value
    from web.server import serve as run_server
    from web.settings import ServerSettings

    logs.set_up(log_format, log_level, [token, cookie_value(token)] if token else [])
    seconds = _amount(amounts.seconds, every)
    if poll and not watch:
        raise typer.BadParameter("--poll is a way to watch: add --watch.")
    address = _address(vectors)
    if address is not None and (watch or every):
        raise typer.BadParameter("A server that answers from Milvus indexes nothing: leave out --watch and --every.")

    def ready(address: str) -> None:
        if as_json:
            print(json.dumps({"address": address}), flush=True)
        else:
            print(f"Sightline is at {address} (Ctrl+C stops it)", flush=True)

    with _failing_kindly(as_json):
        if host not in ("127.0.0.1", "localhost", "::1") and not token:
            logs.say(
                f"anyone who can reach {host} can see the photos, change their captions and start indexing; "
                "--token keeps others out.",
                level=logging.WARNING,
            )
        run_server(
            _home(home),
            ServerSettings(
                host,
                port,
                token or None,
                allowed_hosts=tuple(allow_host or ()),
                watch=watch,
                every=seconds,
                poll=poll,
                vectors=address,
            ),
            ready,
        )


@app.command()
def status(
    failures: Annotated[
        bool, typer.Option("--failures", help="List what could not be read or described, and why.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show libraries, photos, failures, the model and the last runs."""
    from contextlib import closing

    from search.catalog import failures as failure_list
    from search.catalog.connection import connect_to_read
    from search.status import status as read_status

    place = _home(home)
    with _failing_kindly(as_json, place):
        with closing(connect_to_read(place)) as connection:
            document = {"version": installed_version(), **read_status(place, connection)}
            failed = failure_list.page(connection) if failures else []
        if failures:
            document["failed"] = failed
        _print(document, as_json, lambda: printing.print_status(document, failed))


@app.command()
def verify(
    repair: Annotated[bool, typer.Option("--repair", help="Mend all that can be made again.")] = False,
    photos: Annotated[
        bool, typer.Option("--photos", help="Read every photo, too, to find those that decayed.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check the index against itself and the photos' files."""
    from indexer.terminal import TerminalProgress
    from indexer.verify.run import verify as check

    place = _home(home)
    with _failing_kindly(as_json, place):
        with TerminalProgress() as progress:
            found = check(place, repair=repair, photos=photos, progress=progress)
        _print(found.to_json(), as_json, lambda: printing.print_verification(found))
        if not found.ok:
            raise typer.Exit(1)  # no error's document: the problems stand on stdout


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="The file to write; an older backup there is replaced.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write all that cannot be made again into one file, also while a run is at work."""
    from indexer.terminal import TerminalProgress
    from search.catalog.backup import back_up

    place = _home(home)
    with _failing_kindly(as_json, place):
        with TerminalProgress() as progress:
            progress.stage("backup", None)
            made = back_up(place, file, lambda done, total: progress.advance(done // 10**6, 0))
        _print(made.to_json(), as_json, lambda: printing.print_backup(made))


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A backup that `sightline backup` wrote.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Also where the home holds an index; its catalog is kept beside it.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a backup in the place of the home's catalog; a server that runs follows."""
    from indexer.restore import restore as restore_backup
    from indexer.terminal import TerminalProgress

    place = _home(home)
    with _failing_kindly(as_json, place):
        with TerminalProgress() as progress:
            done = restore_backup(place, file, replace=replace, progress=progress)
        _print(done.to_json(), as_json, lambda: printing.print_restored(done))


@app.command()
def caption(
    photo: Annotated[str, typer.Argument(metavar="ID", help="The photo's id, or the path of its file.")],
    text: Annotated[str, typer.Argument(help="What you say of it; an empty text takes it back.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say of a photo what no captioner will overwrite."""
    from search.catalog.editing import put_caption

    place = _home(home)
    with _failing_kindly(as_json, place):
        kept = put_caption(place, photo, text)
        _print(
            {"id": kept.id, "caption": kept.caption}, as_json, lambda: print(printable(kept.caption or "No caption."))
        )


@app.command()
def models(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the presets, which of them are on this machine, and which one the index uses."""
    from contextlib import closing

    from search.catalog.connection import connect_to_read
    from search.errors import CatalogError
    from search.model_choices import model_choices

    place = _home(home)
    with _failing_kindly(as_json, place):
        try:
            with closing(connect_to_read(place)) as connection:
                document = model_choices(connection)
        except CatalogError:
            document = model_choices(None)
        _print(document, as_json, lambda: printing.print_models(document))


@app.command("eval")
def evaluate(
    file: Annotated[
        Path | None, typer.Argument(help="Captions in Karpathy's JSON format; needs --images.", show_default=False)
    ] = None,
    images: Annotated[Path | None, typer.Option(help="The folder that the photos of FILE lie in.")] = None,
    model: Annotated[str | None, typer.Option(help="The model to measure, as for `index`.")] = None,
    mode: Annotated[
        Literal["meaning", "words", "hybrid", "all"], typer.Option(help="How to ask; all: in each of the three ways.")
    ] = "meaning",
    captions: Annotated[str, typer.Option(help="Who writes captions, as for `index`; off: nobody.")] = "starter",
    split: Annotated[str | None, typer.Option(help="Only photos of this split, such as test (default: all).")] = None,
    labelled: Annotated[
        Path | None, typer.Option(help="A folder of folders named for what their photos show, to judge tags by.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write report.md, report.json and recall.png here.")] = None,
    device: DeviceOption = "auto",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure how well photos are found by their captions, captions by people's, and tags, in a throw-away home."""
    from indexer.evaluation import MODES, Evaluation, evaluate_tags
    from indexer.evaluation import evaluate as measure
    from indexer.evaluation_report import WITHOUT_PICTURE, write_report
    from indexer.terminal import TerminalProgress

    if (file is None) != (images is None):
        raise typer.BadParameter("FILE and --images go together.")
    if file is None and labelled is None:
        raise typer.BadParameter("There is nothing to measure: name FILE and --images, or --labelled.")
    with _failing_kindly(as_json):
        with TerminalProgress() as progress:
            found = Evaluation({}, {})
            if file is not None and images is not None:
                modes = MODES if mode == "all" else (mode,)
                found = measure(
                    file,
                    images,
                    model=model,
                    modes=modes,
                    captions=captions,
                    split=split,
                    device=device,
                    progress=progress,
                )
            if labelled is not None:
                found.document.update(evaluate_tags(labelled, model=model, device=device, progress=progress))
        if report is not None and not write_report(report, found):
            print(f"sightline: {WITHOUT_PICTURE}", file=sys.stderr)
        _print(found.document, as_json, lambda: printing.print_evaluation(found.document))


@app.command()
def demo(
    photos: Annotated[Path | None, typer.Option(help="A folder of your own photos, instead of the samples.")] = None,
    no_serve: Annotated[bool, typer.Option("--no-serve", help="Stop before serving the page, as --json does.")] = False,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to serve the page on (default: 8000, or a free one).")
    ] = None,
    model: ModelOption = "starter",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Index the sample photos that installed packages carry, ask a few questions, and serve the page."""
    from indexer.demo import ask, gather_samples
    from indexer.report import IndexOptions
    from search.home import Home

    with _failing_kindly(as_json):
        # Homes of their own: the samples must not become a library of the user's index, nor her photos one of theirs.
        place = Home(_home(home).path / ("demo" if photos is None else "demo-photos"))
        folder = Path(os.path.expanduser(photos)) if photos else place.path / "photos"
        if photos is None:
            gather_samples(folder)
        report = _index(place, [str(folder)], IndexOptions(model=model, download=False))
        outcome = ask(place, judged=photos is None)
        _print({"index": report.to_json(), **outcome}, as_json, lambda: printing.print_demo(report, outcome))
        if not (no_serve or as_json):  # with --json, stdout is one document, and the server would add to it
            print("\nTry: a motorcycle · a rocket launch · a flower -red · drop any picture on the page", flush=True)
            serve("127.0.0.1", _free_port() if port is None else port, home=place.path)
        if not outcome["passed"]:
            print("sightline: an example query did not find the photo that it should; see above.", file=sys.stderr)
            raise typer.Exit(1)  # no error's document: the outcome's own stands on stdout


def _free_port() -> int:
    """8000, or 0 where something else listens there: a demo should not end with that."""
    from web.server import listen
    from web.settings import ServerSettings

    try:
        listen(ServerSettings(port=8000)).close()
    except SightlineError:
        return 0
    return 8000


def _follow(
    home: Home, paths: list[str], options: IndexOptions, watch: bool, every: float | None, poll: bool, as_json: bool
) -> None:
    """Index again and again until interrupted, which is how it ends well. With --json, a line for each run."""
    import signal

    from indexer.watch import Follower

    def reported(report: IndexReport) -> None:
        if as_json:
            print(json.dumps(report.to_json(), ensure_ascii=False), flush=True)
        else:
            printing.print_report(report)

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)  # a service manager's way to ask
    with logs.progress() as progress:
        follower = Follower(
            home,
            options,
            progress,
            watch=watch,
            every=every,
            poll=poll,
            reported=reported,
        )
        with contextlib.suppress(KeyboardInterrupt):
            follower.run(paths)


def _index(home: Home, paths: list[str], options: IndexOptions) -> IndexReport:
    from indexer.run import run_index

    with logs.progress() as progress:
        return run_index(home, paths, options, progress)


def main() -> None:
    """The console script."""
    # A file name may hold bytes that the terminal's encoding cannot show; that must not end the program.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    # Nearly all that a command imports stays: looking through it for garbage, meanwhile and at the end, would take a
    # seventh of a search's time.
    gc.set_threshold(50_000)
    try:
        app()
    finally:
        gc.freeze()


if __name__ == "__main__":
    main()

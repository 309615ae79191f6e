"""The stages of describing in a run: captions, unless they are switched off, and the text in pictures."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from indexer.describe.work import Outcome, Work
from indexer.progress import Progress
from indexer.report import IndexOptions, IndexReport
from indexer.storage import storage_of
from search.catalog import descriptions, settings
from search.catalog.descriptions import CAPTIONS, OFF, TEXT, PendingPhoto
from search.errors import SightlineError
from search.models.names import STARTER

if TYPE_CHECKING:
    from PIL.Image import Image
    from sqlite_utils import Database

    from indexer.decoding.decoders import Decoders
    from indexer.describe.captioner import Caption
    from indexer.describe.openai import DryRun


@dataclass(frozen=True)
class _Plan:
    """What a stage has to do: the photos that wait for its author, what loads it, and a `note` to show before."""

    author: str
    photos: list[PendingPhoto]
    load: Callable[[], Work]
    note: str = ""


def check(options: IndexOptions) -> None:
    """Return if a run can be asked for this; what is wrong with it should show before hours of work.

    Raises:
        SightlineError: there is no such captioner, or reading text needs something that is not installed.
    """
    from indexer.describe.choice import canonical_name, sends_pictures

    if options.captions not in (None, OFF):
        canonical_name(options.captions)
    if options.captions_dry_run and (options.captions in (None, OFF) or not sends_pictures(options.captions)):
        raise SightlineError("Only a captioner that sends pictures away has a dry run: add --captions openai:MODEL.")
    if options.ocr:
        from indexer.describe.text import check_installed

        check_installed()


def remember(connection: sqlite3.Connection, options: IndexOptions) -> None:
    """Keep what was asked for, in the caller's transaction; who asks again wants failed photos tried again."""
    if options.captions and not options.captions_dry_run:
        from indexer.describe.choice import NAMES, canonical_name

        name = options.captions.strip()
        # A folder is remembered by its whole path: later runs may start elsewhere.
        settings.put(connection, CAPTIONS, name if name in (*NAMES, OFF) else canonical_name(name))
        descriptions.try_again(connection, CAPTIONS)
    if options.ocr is not None:
        settings.put(connection, TEXT, "on" if options.ocr else OFF)
        descriptions.try_again(connection, TEXT)


def _plan(connection: sqlite3.Connection, stage: str, options: IndexOptions) -> _Plan | None:
    """What is to be done in `stage`, or None where the home does not want it; loads nothing.

    Raises:
        SightlineError: there is no captioner of the name that the home remembers, or its address cannot be used.
    """
    if not descriptions.is_wanted(connection, stage):
        return None
    if stage == TEXT:
        from indexer.describe.text import READER

        return _Plan(READER, descriptions.pending(connection, TEXT, READER), lambda: _reading(options.threads))
    if options.captions_dry_run:
        return None
    name = settings.get(connection, CAPTIONS) or STARTER
    from indexer.describe.choice import canonical_name, sends_pictures
    from indexer.describe.openai import privacy_note

    author = canonical_name(name)
    photos = descriptions.pending(connection, CAPTIONS, author)
    note = privacy_note() if photos and sends_pictures(name) else ""
    return _Plan(author, photos, lambda: _captioning(name, options), note)


def describe(
    database: Database,
    stage: str,
    options: IndexOptions,
    report: IndexReport,
    progress: Progress,
    decoders: Callable[[], Decoders],
    timed: Callable[[str, int | None], AbstractContextManager[None]],
) -> None:
    """Go through a stage, where the home wants it, and count in `report`; what cannot be done now waits for a later
    run, and `report.waits` says why. `decoders` gives what decodes photos; `timed` surrounds the stage with its name
    and its number of photos."""
    connection: sqlite3.Connection = database.conn
    outcome = Outcome()
    try:
        if stage == CAPTIONS and options.captions_dry_run and options.captions:
            progress.say(str(_would_send(connection, options.captions, decoders(), progress, timed)))
        plan = _plan(connection, stage, options)
        if plan is None:
            return
        with database.atomic():
            descriptions.seen_by(connection, stage, plan.author)
        if any(storage_of(file.path).exists(file.path) for photo in plan.photos for file in photo.files):
            from indexer.describe.stage import run_stage  # here: where nothing waits, nothing is decoded

            if plan.note:
                progress.say(plan.note)
            with timed(stage, len(plan.photos)):
                work = plan.load()
                run_stage(database, work, plan.photos, outcome, decoders=decoders(), advance=progress.advance)
        else:
            outcome.waiting = len(plan.photos)
        if outcome.waiting:
            photos = "1 photo waits" if outcome.waiting == 1 else f"{outcome.waiting:,} photos wait"
            purpose = "captions" if stage == CAPTIONS else "the reading of their text"
            raise SightlineError(
                f"{photos} for {purpose}: the files are not there as they were indexed, or too little memory was free."
            )
    except SightlineError as error:
        report.waits.append(str(error))
        progress.say(str(error))
    finally:
        report.not_described += outcome.failed
        if stage == CAPTIONS:
            report.captioned = outcome.described
        else:
            report.texts_read = outcome.described


def _would_send(
    connection: sqlite3.Connection,
    name: str,
    decoders: Decoders,
    progress: Progress,
    timed: Callable[[str, int | None], AbstractContextManager[None]],
) -> DryRun:
    """What the captioner `name` would send of the photos that wait for it; sends nothing.

    Raises:
        SightlineError: the captioner's address or key cannot be used.
    """
    from PIL.Image import Image

    from indexer.describe.choice import canonical_name
    from indexer.describe.openai import LARGEST, dry_run
    from indexer.describe.stage import read_pictures

    author = canonical_name(name)
    photos = descriptions.pending(connection, CAPTIONS, author)

    def pictures() -> Iterator[Image]:
        for done, (_, picture) in enumerate(read_pictures(photos, LARGEST, decoders.size, decoders), start=1):
            if isinstance(picture, Image):
                yield picture
            progress.advance(done, 0)

    with timed(CAPTIONS, len(photos)):
        return dry_run(author.partition(":")[2], pictures())


def _captioning(name: str, options: IndexOptions) -> Work:
    from indexer.describe.captioner import caption_each
    from indexer.describe.choice import load_captioner

    captioner = load_captioner(
        name, device=options.device, precision=options.precision or "auto", allow_download=options.download
    )

    def put(connection: sqlite3.Connection, photo_key: int, caption: Caption) -> None:
        descriptions.put_caption(connection, photo_key, captioner.name, caption.text)

    return Work(
        CAPTIONS,
        captioner.name,
        lambda images: caption_each(captioner, images),
        put,
        captioner.side,
        captioner.batch_size,
    )


def _reading(workers: int) -> Work:
    from concurrent.futures import ThreadPoolExecutor

    from indexer.describe.text import DRAFT_SIZE, READER, load_text_reader, threads_that_fit
    from search.errors import PhotoError

    threads = min(workers, threads_that_fit())
    # A thread for each picture: ONNX Runtime's own threads gain less on pictures with few lines.
    reader = load_text_reader(threads=1)

    def read(image: Image) -> Any:
        try:
            return reader.read(image)
        except PhotoError as error:
            return error

    def read_all(images: list[Image]) -> list[Any]:
        with ThreadPoolExecutor(threads, "text") as pool:
            return list(pool.map(read, images))

    return Work(TEXT, READER, read_all, descriptions.put_text, min(DRAFT_SIZE), 2 * threads, math.prod(DRAFT_SIZE))

"""Which stages of describing a home wants: captions, unless they are switched off, and the text in pictures."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from indexer.describe.stage import Work
from indexer.report import IndexOptions
from search.catalog import descriptions, settings
from search.catalog.descriptions import CAPTIONS, TEXT, PendingPhoto
from search.errors import SightlineError
from search.models.names import STARTER

if TYPE_CHECKING:
    from PIL.Image import Image

    from indexer.describe.captioner import Caption
    from indexer.describe.openai import DryRun

OFF = "off"


@dataclass(frozen=True)
class Plan:
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
        settings.put(connection, CAPTIONS, options.captions.strip())
        descriptions.try_again(connection, CAPTIONS)
    if options.ocr is not None:
        settings.put(connection, TEXT, "on" if options.ocr else OFF)
        descriptions.try_again(connection, TEXT)


def plan(connection: sqlite3.Connection, stage: str, options: IndexOptions, workers: int) -> Plan | None:
    """What is to be done in `stage`, or None where the home does not want it; loads nothing.

    Raises:
        SightlineError: there is no captioner of the name that the home remembers, or its address cannot be used.
    """
    if stage == TEXT:
        if settings.get(connection, TEXT) != "on":
            return None
        from indexer.describe.text import READER

        return Plan(READER, descriptions.pending(connection, TEXT, READER), lambda: _reading(workers))
    name = settings.get(connection, CAPTIONS) or STARTER
    if options.captions_dry_run or name == OFF:
        return None
    from indexer.describe.choice import canonical_name, sends_pictures
    from indexer.describe.openai import privacy_note

    author = canonical_name(name)
    photos = descriptions.pending(connection, CAPTIONS, author)
    note = privacy_note() if photos and sends_pictures(name) else ""
    return Plan(author, photos, lambda: _captioning(name, options), note)


def would_send(connection: sqlite3.Connection, name: str, workers: int) -> DryRun:
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
    pictures = read_pictures(photos, LARGEST, workers, workers)
    return dry_run(author.partition(":")[2], (one for _, one in pictures if isinstance(one, Image)))


def _captioning(name: str, options: IndexOptions) -> Work:
    from indexer.describe.captioner import caption_each
    from indexer.describe.choice import load_captioner

    captioner = load_captioner(
        name, device=options.device, precision=options.precision, allow_download=options.download
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

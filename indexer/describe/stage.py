"""A stage of describing: photos are read again, batch by batch, and what is written about them is kept as it comes.

Searches work long before it ends. It goes on where it was stopped, a photo that cannot be described is marked and
passed over, and one that cannot be opened (its drive is away) waits for a later run.
"""

from __future__ import annotations

import sqlite3
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any

from PIL import Image

from indexer.decoding.decoders import Decoders
from indexer.describe.captioner import ended, first_line
from indexer.describe.work import Outcome, Work
from indexer.files import held_file, photo_id
from indexer.look import look
from indexer.scan import UNSETTLED, modified_ns
from search import failpoints
from search.catalog import changes, descriptions, settings, words
from search.catalog.changes import Look
from search.catalog.descriptions import PendingPhoto
from search.errors import FileChangedError, PhotoError, PhotoForNowError, SightlineError

if TYPE_CHECKING:
    from sqlite_utils import Database

_GROUP_SECONDS = 1.0
_TOO_MANY_TO_BE_AT_FAULT = 8


def run_stage(
    database: Database,
    work: Work,
    photos: Sequence[PendingPhoto],
    outcome: Outcome,
    *,
    decoders: Decoders,
    advance: Callable[[int, int], None],
) -> None:
    """Describe `photos`, counting in `outcome` and telling `advance` how many are done and have failed.

    Raises:
        SightlineError: nothing more can be described now; what was done is kept.
    """
    group: list[tuple[int, Any]] = []
    looks: dict[int, Look] = {}
    blank = changes.without_look(database.conn)
    doubtful: list[tuple[int, Any]] = []  # failures from before anything was described: whose fault are they?
    proven = False
    seen = wrong = 0
    committed = time.monotonic()
    pictures = read_pictures(photos, work.side, work.batch, decoders, work.pixels)
    try:
        with closing(pictures):
            while batch := list(islice(pictures, work.batch)):
                ready = [(key, picture) for key, picture in batch if isinstance(picture, Image.Image)]
                unread = [(key, error) for key, error in batch if isinstance(error, Exception)]
                outcome.waiting += len(batch) - len(ready) - len(unread)
                looks |= {key: look(picture) for key, picture in ready if key in blank}
                found = work.describe([picture for _, picture in ready])
                end = ended(found)
                done = [(key, one) for (key, _), one in zip(ready, found, strict=True) if ended([one]) is None]
                group += unread
                doubtful += done
                proven = proven or not all(isinstance(one, Exception) for _, one in done)
                if proven:
                    group += doubtful
                    doubtful.clear()
                elif end is None and len(doubtful) >= _TOO_MANY_TO_BE_AT_FAULT:
                    raise SightlineError(
                        f"The stage `{work.stage}` ended: {work.author} described not one of the first {len(doubtful)} "
                        f"photos ({first_line(doubtful[0][1])}), so that is not their fault. They wait for the next "
                        "`sightline index`."
                    )
                if time.monotonic() - committed >= _GROUP_SECONDS:
                    _keep(database, work, group, looks, outcome)
                    committed = time.monotonic()
                seen += len(batch)
                wrong += sum(isinstance(one, Exception) for _, one in (*unread, *done))
                advance(seen, wrong)
                if end is not None:
                    raise end
            group += doubtful
    finally:
        _keep(database, work, group, looks, outcome)


def read_pictures(
    photos: Sequence[PendingPhoto], side: int, batch: int, decoders: Decoders, pixels: int | None = None
) -> Generator[tuple[int, Image.Image | Exception | None]]:
    """Each photo's key with its picture, what is wrong with it, or None where no file of it is there as it was.

    Two batches are read ahead; pictures are upright, RGB, and less than twice as long on a side as `Work` needs them.
    """
    remaining = iter(photos)
    waiting: deque[tuple[int, Future[Image.Image | Exception | None]]] = deque()
    own = Decoders(decoders.pool)
    pool = ThreadPoolExecutor(own.size, "read")
    try:
        while True:
            for photo in islice(remaining, max(0, 2 * batch + decoders.size - len(waiting))):
                waiting.append((photo.key, pool.submit(_picture, photo, own, side, pixels)))
            if not waiting:
                return
            key, picture = waiting.popleft()
            yield key, picture.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        own.close()  # nobody waits any more for a photo that takes long
        pool.shutdown()


def _keep(
    database: Database, work: Work, group: list[tuple[int, Any]], looks: dict[int, Look], outcome: Outcome
) -> None:
    """Commit what was found, count it, and forget the group."""
    if not group and not looks:
        return
    connection: sqlite3.Connection = database.conn
    kept = Outcome()
    with database.atomic():
        for key, one in looks.items():
            changes.put_look(connection, key, one)
        if looks:
            settings.grow_revision(connection)
        for key, found in group:
            if isinstance(found, MemoryError | PhotoForNowError):
                kept.waiting += 1  # another run may have more memory, or nobody who disturbs it
            elif isinstance(found, Exception):
                descriptions.record(connection, key, work.stage, work.author, first_line(found))
                kept.failed += 1
            else:
                work.put(connection, key, found)
                descriptions.record(connection, key, work.stage, work.author)
                kept.described += 1
        words.refresh(connection, [key for key, found in group if not isinstance(found, Exception)])
        failpoints.reach("descriptions written")
    outcome.described += kept.described
    outcome.failed += kept.failed
    outcome.waiting += kept.waiting
    group.clear()
    looks.clear()


def _picture(photo: PendingPhoto, decoders: Decoders, side: int, pixels: int | None) -> Image.Image | Exception | None:
    for file in photo.files:
        try:
            with held_file(file.path) as (content, status):
                if (status.st_size, modified_ns(status)) != (file.size, file.mtime_ns) and (
                    file.mtime_ns != UNSETTLED or photo_id(content) != photo.id
                ):
                    continue  # it holds another picture by now; the next run will see
                # What waits must not fill the memory.
                return decoders.picture(content, draft=(side, side), side=side, pixels=pixels)
        except (OSError, FileChangedError):
            continue
        except (PhotoError, MemoryError, ValueError) as error:
            return error
    return None

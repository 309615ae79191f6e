"""Reading ahead: threads read, hash and have decoded the next photos while the model works on the present batch.

Each thread goes with a process that decodes for it (`indexer.decoding`): what one hands over, the other works on. The
look-ahead is bounded, so memory stays the same however large the library is; what waits in it are pixels at the model's
size, never whole photos.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from indexer.decoding.answers import MeasuredPhoto
from indexer.decoding.child import NO_MEMORY
from indexer.decoding.decoders import Decoders, measured
from indexer.files import LARGE, MAX_BYTES, check_head, opened, photo_id, room_for_file, whole_file
from indexer.retries import until_another_day
from indexer.scan import FAILED_FOR_NOW, FoundFile, modified_ns, settled_ns
from indexer.storage import storage_of
from search.catalog.changes import NewPhoto
from search.errors import FileChangedError, PhotoError, PhotoForNowError, PhotoMemoryError

if TYPE_CHECKING:
    from indexer.decoding.gpu import GpuDecoders
    from search.models.preprocess import Preprocess

FILES_A_TASK = 8
"""Files that a thread takes, and has decoded, at a time: one by one, handing them over costs a sixth of the work."""
UNREADABLE = "it cannot be read"
"""So begins what is said of a file that the system does not let be read."""
_BYTES_AT_ONCE = 4 * 2**20
_BYTES_FOR_A_GPU = 32 * 2**20
"""A GPU decodes several photos at once."""
_TRIES = 3
"""What cannot be read from afar is tried so often again, with a rest in between where its storage does not answer."""

_MANY = 3_000
"""Of so many photos PyTorch, whose kernel resizes them (`search.models.preprocess`), saves the second or two that its
import takes."""


@dataclass(frozen=True, slots=True)
class ReadFile:
    """What came of one file.

    Attributes:
        id: the photo's id, a hash of the bytes; '' where they could not be read.
        size, mtime_ns: of the file as it was opened.
        photo: its measures and EXIF, without its pixels; None where it failed or was known.
        pixels: uint8[h, w, 3] at the model's size; None where it failed or was known.
        failure: one sentence, or None.
        left_alone: there is nothing to record of it: it has gone since the folder was scanned, or was written to while
            it was read, so that the next run reads it anew.
    """

    found: FoundFile
    id: str = ""
    size: int = 0
    mtime_ns: int = 0
    photo: NewPhoto | None = None
    pixels: npt.NDArray[np.uint8] | None = None
    failure: str | None = None
    left_alone: bool = False


class ReadAhead:
    """Files that are read ahead of whoever goes through them, once and in their order. Whoever ends early closes it."""

    def __init__(
        self,
        files: Sequence[FoundFile],
        preprocess: Preprocess,
        decoders: Decoders,
        *,
        known: Callable[[str], bool],
        look_ahead: int,
        on_gpus: GpuDecoders | None = None,
    ) -> None:
        """Begin to read `files` with a thread for each of the `decoders`, at most about `look_ahead` files ahead.

        A photo whose id is `known` is not decoded. Those that `on_gpus` takes are decoded there, from threads of their
        own.
        """
        self._own = own = Decoders(decoders.pool)

        def read(some: list[FoundFile]) -> list[ReadFile]:
            return read_files(some, preprocess, known, own, on_gpus)

        self._read = read
        self._remaining = iter(files)
        self._look_ahead = look_ahead
        self._waiting: deque[Future[list[ReadFile]]] = deque()
        threads = decoders.size + (on_gpus.threads if on_gpus is not None else 0)
        if len(files) < _MANY and "torch" not in sys.modules:
            self._pool = ThreadPoolExecutor(threads, "read")
        else:
            import torch

            torch.get_num_threads()  # which this thread keeps, asked before others set theirs
            # Photos are resized side by side. Were each resize shared out among all cores, its threads would wait for
            # each other, spinning, and take the cores from the model.
            self._pool = ThreadPoolExecutor(threads, "read", torch.set_num_threads, (1,))
        try:
            self._go_on()
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[ReadFile]:
        """What came of each file. Raises what `read_files` raises."""
        while self._waiting:
            yield from self._waiting.popleft().result()
            self._go_on()

    def close(self) -> None:
        """End what is under way; nobody waits any more for a photo that takes long."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._own.close()
        self._pool.shutdown()

    def _go_on(self) -> None:
        while len(self._waiting) * FILES_A_TASK < self._look_ahead:
            some = list(islice(self._remaining, FILES_A_TASK))
            if not some:
                break
            self._waiting.append(self._pool.submit(self._read, some))


def read_files(
    some: Sequence[FoundFile],
    preprocess: Preprocess,
    known: Callable[[str], bool],
    decoders: Decoders,
    on_gpus: GpuDecoders | None = None,
) -> list[ReadFile]:
    """Read, hash and decode some files; never raises for what a file is or holds.

    Raises:
        DecodingError: no process that decodes can be started, or `decoders` or `on_gpus` were closed.
    """
    at_once = _BYTES_AT_ONCE if on_gpus is None or on_gpus.given_up else _BYTES_FOR_A_GPU
    done: dict[int, ReadFile] = {}
    waiting: dict[int, _Opened] = {}
    # Side by side where they are fetched from afar; else each is read when it is asked for.
    storage = storage_of(some[0].path)
    together = _of_bounded_size([found for found in some if found.size <= LARGE])
    fetched = chain.from_iterable(storage.each(_fetched, group) for group in together)
    for place, found in enumerate(some):
        if found.size > LARGE:
            # Nothing else is held while it waits for room.
            done.update(_decoded(waiting, preprocess, decoders, on_gpus))
            waiting.clear()
            done[place] = _read_large(found, preprocess, known, decoders)
            continue
        file = _unless_known(next(fetched), known)
        if isinstance(file, ReadFile):
            done[place] = file
            continue
        waiting[place] = file
        if sum(len(file.content) for file in waiting.values()) >= at_once:
            done.update(_decoded(waiting, preprocess, decoders, on_gpus))
            waiting.clear()
    done.update(_decoded(waiting, preprocess, decoders, on_gpus))
    return [done[place] for place in range(len(some))]


def _of_bounded_size(some: Sequence[FoundFile]) -> Iterator[list[FoundFile]]:
    """Files in their order, as many together as have `LARGE` bytes: what a thread holds of files that are fetched side
    by side is no more than what it holds of one."""
    group: list[FoundFile] = []
    size = 0
    for found in some:
        if group and size + found.size > LARGE:
            yield group
            group, size = [], 0
        group.append(found)
        size += found.size
    if group:
        yield group


@dataclass(frozen=True, slots=True)
class _Opened:
    """A file that is to be decoded: what is known of it, its content, and when it was last written."""

    file: ReadFile
    content: bytes
    modified_ns: int


def _read_large(found: FoundFile, preprocess: Preprocess, known: Callable[[str], bool], decoders: Decoders) -> ReadFile:
    """A file that takes much memory: it is read once its first bytes are a photo's, and few at a time."""
    now = time.time_ns()
    size = 0
    with contextlib.suppress(OSError, PhotoError), opened(found.path) as (stream, status):
        size = min(status.st_size, MAX_BYTES)
        try:
            check_head(stream)
        except PhotoError as error:
            return ReadFile(found, "", status.st_size, _time_to_keep(found, status, now), failure=str(error))
    with room_for_file(size):
        file = _unless_known(_fetched(found), known)
        return file if isinstance(file, ReadFile) else _decoded({0: file}, preprocess, decoders)[0]


def _unless_known(file: ReadFile | _Opened, known: Callable[[str], bool]) -> ReadFile | _Opened:
    return file.file if isinstance(file, _Opened) and known(file.file.id) else file


def _fetched(found: FoundFile) -> ReadFile | _Opened:
    file = _fetched_now(found)
    for _ in range(_TRIES):
        if isinstance(file, _Opened) or file.mtime_ns != FAILED_FOR_NOW:
            break
        if not storage_of(found.path).has_rested(found.path):
            break
        file = _fetched_now(found)
    return file


def _fetched_now(found: FoundFile) -> ReadFile | _Opened:
    now = time.time_ns()
    try:
        content, status = whole_file(found.path)
    except (FileNotFoundError, FileChangedError):
        return ReadFile(found, left_alone=True)
    except MemoryError:
        return ReadFile(found, "", found.size, FAILED_FOR_NOW, failure=NO_MEMORY)
    except (PhotoError, ValueError) as error:
        return ReadFile(found, "", found.size, found.mtime_ns, failure=str(error))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        return ReadFile(found, "", found.size, FAILED_FOR_NOW, failure=f"{UNREADABLE}: {reason}")
    file = ReadFile(found, photo_id(content), status.st_size, _time_to_keep(found, status, now))
    return _Opened(file, content, modified_ns(status))


def _time_to_keep(found: FoundFile, status: os.stat_result, read_ns: int) -> int:
    if storage_of(found.path).tells_every_write(status):
        return modified_ns(status)
    return settled_ns(status, read_ns)


def _decoded(
    waiting: dict[int, _Opened], preprocess: Preprocess, decoders: Decoders, on_gpus: GpuDecoders | None = None
) -> dict[int, ReadFile]:
    done: dict[int, ReadFile] = {}
    if on_gpus is not None:
        found = on_gpus.measured({place: file.content for place, file in waiting.items()}, preprocess)
        done = {place: _read(waiting[place], photo, preprocess) for place, photo in found.items()}
    left = {place: file for place, file in waiting.items() if place not in done}
    if left:
        with decoders.worker() as worker:
            answers = measured(worker, [file.content for file in left.values()], preprocess)
            done |= {place: _read(left[place], one, preprocess) for place, one in zip(left, answers, strict=True)}
    return done


def _read(opened: _Opened, found: MeasuredPhoto | PhotoError, preprocess: Preprocess) -> ReadFile:
    file = opened.file
    if isinstance(found, PhotoMemoryError):
        return replace(file, mtime_ns=FAILED_FOR_NOW, failure=str(found))
    if isinstance(found, PhotoForNowError):
        return replace(file, failure=until_another_day(str(found)))
    if isinstance(found, PhotoError):
        return replace(file, failure=str(found))
    # A copy where the pixels are ready: the process that made them will write over them.
    pixels = found.pixels.copy() if found.ready else preprocess(found.pixels, found.full_size)
    return replace(file, photo=measures(file.id, file.size, opened.modified_ns, found), pixels=pixels)


def measures(identity: str, size: int, mtime_ns: int, found: MeasuredPhoto) -> NewPhoto:
    """What the catalog keeps of a photo: its id, the size and date of its file, and what was measured of it."""
    exif, full_size = found.exif, found.full_size
    return NewPhoto(
        id=identity,
        width=full_size[0],
        height=full_size[1],
        format=found.format,
        bytes=size,
        taken_at=exif.taken_at,
        # The wall clock where it was taken is what people remember; a file's own date is the next best.
        sort_at=(exif.taken_at or datetime.fromtimestamp(mtime_ns / 1e9).isoformat())[:19],
        camera=exif.camera,
        lens=exif.lens,
        latitude=exif.latitude,
        longitude=exif.longitude,
        flatness=round(found.flatness, 3),
        look=found.look,
    )

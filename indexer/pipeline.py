"""Reading ahead: threads read, hash and decode the next photos while the model works on the present batch.

The look-ahead is bounded, so memory stays the same however large the library is; what waits in it are pixels at the
model's size, never whole photos.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from indexer.look import look
from indexer.pixels import flatness
from indexer.read import DecodedPhoto, decode, photo_id, whole_file
from indexer.scan import FAILED_FOR_NOW, FoundFile, modified_ns
from search.catalog.changes import NewPhoto
from search.errors import PhotoError, PhotoMemoryError

if TYPE_CHECKING:
    from search.models.preprocess import Preprocess

_FILES_A_TASK = 8  # handing a task to a thread costs about a tenth of decoding a small photo


@dataclass(frozen=True, slots=True)
class ReadFile:
    """What came of one file.

    Attributes:
        id: the photo's id, a hash of the bytes; '' where they could not be read.
        size, mtime_ns: of the file as it was opened.
        photo: its measures and EXIF, without its pixels; None where it failed or was known.
        pixels: uint8[h, w, 3] at the model's size; None where it failed or was known.
        failure: one sentence, or None.
        vanished: it was there when the folder was scanned, and is not any more.
    """

    found: FoundFile
    id: str = ""
    size: int = 0
    mtime_ns: int = 0
    photo: NewPhoto | None = None
    pixels: npt.NDArray[np.uint8] | None = None
    failure: str | None = None
    vanished: bool = False


def read_ahead(
    files: Sequence[FoundFile],
    preprocess: Preprocess,
    *,
    known: Callable[[str], bool],
    workers: int,
    look_ahead: int,
) -> Generator[ReadFile]:
    """Read `files` in their order with `workers` threads, at most about `look_ahead` files ahead of the caller.

    A photo whose id is `known` is not decoded.
    """

    def task(some: list[FoundFile]) -> list[ReadFile]:
        return [read_file(found, preprocess, known) for found in some]

    import torch  # loaded by now: what is read is to be embedded

    remaining = iter(files)
    waiting: deque[Future[list[ReadFile]]] = deque()
    # Photos are resized side by side. Were each resize shared out among all cores, its threads would wait for each
    # other, spinning, and take the cores from the model.
    pool = ThreadPoolExecutor(workers, "read", torch.set_num_threads, (1,))
    try:
        while True:
            while len(waiting) * _FILES_A_TASK < look_ahead and (some := list(islice(remaining, _FILES_A_TASK))):
                waiting.append(pool.submit(task, some))
            if not waiting:
                return
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def read_file(found: FoundFile, preprocess: Preprocess, known: Callable[[str], bool]) -> ReadFile:
    """Read, hash and decode one file; never raises for what the file is or holds."""
    identity, size, mtime_ns = "", found.size, found.mtime_ns
    try:
        content, status = whole_file(found.path)
        size, mtime_ns = status.st_size, modified_ns(status)
        identity = photo_id(content)
        if known(identity):
            return ReadFile(found, identity, size, mtime_ns)
        decoded = decode(content, draft=preprocess.draft_size)
        pixels = preprocess(decoded.image, (decoded.width, decoded.height))
        return ReadFile(found, identity, size, mtime_ns, measures(identity, size, mtime_ns, decoded), pixels)
    except FileNotFoundError:
        return ReadFile(found, vanished=True)
    except (PhotoMemoryError, MemoryError):
        return ReadFile(found, identity, size, FAILED_FOR_NOW, failure="it needs more memory than there is")
    except (PhotoError, ValueError) as error:
        return ReadFile(found, identity, size, mtime_ns, failure=str(error))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        return ReadFile(found, identity, size, FAILED_FOR_NOW, failure=f"it cannot be read: {reason}")


def measures(identity: str, size: int, mtime_ns: int, decoded: DecodedPhoto) -> NewPhoto:
    """What the catalog keeps of a photo: its id, the size and date of its file, and what it was decoded to."""
    exif = decoded.exif
    return NewPhoto(
        id=identity,
        width=decoded.width,
        height=decoded.height,
        format=decoded.format,
        bytes=size,
        taken_at=exif.taken_at,
        # The wall clock where it was taken is what people remember; a file's own date is the next best.
        sort_at=(exif.taken_at or datetime.fromtimestamp(mtime_ns / 1e9).isoformat())[:19],
        camera=exif.camera,
        lens=exif.lens,
        latitude=exif.latitude,
        longitude=exif.longitude,
        flatness=round(flatness(decoded.image), 3),
        look=look(decoded.image),
    )

"""Large JPEGs, decoded by GPUs beside the processes that decode everything else: whatever a GPU does not take, or fails
on, goes to those, so that nothing depends on it."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from indexer.decoding.answers import Answer, MeasuredPhoto, measured_photo
from indexer.decoding.pool import Pool
from indexer.decoding.settings import DecodingSettings
from indexer.pixels import default_max_pixels
from search.errors import DecodingError, PhotoError

if TYPE_CHECKING:
    from indexer.decoding.decoders import Decoders
    from indexer.decoding.worker import Worker
    from indexer.scan import FoundFile
    from search.models.preprocess import Preprocess

logger = logging.getLogger("sightline.index")
FEWEST_BYTES = 2**20
"""Of a JPEG that is worth it; smaller ones are quickly decoded by a processor."""
_WORTH = 2_000
"""Of so many it is worth the seconds in which PyTorch and the driver start in each process."""
_EACH = 2
"""Processes for each GPU: while one brings files there and measures what comes back, the other decodes."""
_MEMORY = 32 * 1024
"""MiB that such a process may take: the driver maps far more than photos need."""
STAND_IN = "cpu"
"""A place that stands in for a GPU where there is none: nobody expects it to save time."""
_FAILURES = 3
_OFFERED = 256
"""After so many photos of which a GPU took none, no more are offered."""


class GpuDecoders:
    """Processes that have JPEGs decoded by GPUs. They start by themselves, and until one is ready nothing is taken.
    Thread-safe.

    Attributes:
        closed: whether they are wanted no more.
        threads: how many may ask at once.
        settled: whether all processes are ready, or are known to be of no use.
        given_up: whether nothing is taken any more.
    """

    def __init__(
        self, places: Sequence[str], settings: DecodingSettings, *, tasks: str = "indexer.decoding.gpu_tasks"
    ) -> None:
        """Start `_EACH` processes for each of `places`, as PyTorch calls devices."""
        self.closed = False
        self.settled = threading.Event()
        self.threads = _EACH * len(places)
        self._begun = 0
        self._idle: queue.SimpleQueue[_Slot] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._failures = self._offered = self._taken = 0
        self.given_up = False
        with_room = settings.model_copy(update={"memory": _MEMORY})
        self._slots = [_Slot(place, Pool(1, with_room, tasks=tasks)) for place in places for _ in range(_EACH)]
        for slot in self._slots:
            threading.Thread(target=self._begin, args=(slot,), name="gpu decoder", daemon=True).start()

    def measured(self, contents: Mapping[int, bytes], preprocess: Preprocess) -> dict[int, MeasuredPhoto]:
        """What indexing wants to know of those photos that a GPU decodes now, with pixels at the model's size, by the
        numbers that they have in `contents`. May be none.

        Raises:
            DecodingError: these were closed.
        """
        offered = [number for number, content in contents.items() if is_worth_it(content)]
        if not offered or self.given_up:
            return {}
        try:
            slot = self._idle.get_nowait()
        except queue.Empty:
            return {}
        try:
            found = self._asked(slot, [contents[number] for number in offered], preprocess)
        finally:
            self._idle.put(slot)
        return {number: photo for number, photo in zip(offered, found, strict=False) if photo is not None}

    def close(self) -> None:
        """End the processes; whoever waits for them has a `DecodingError`."""
        self.closed = True
        for slot in self._slots:
            slot.pool.close()

    def _begin(self, slot: _Slot) -> None:
        try:
            with slot.pool.worker(self) as worker:
                problem = slot.begun(worker)
        except DecodingError as error:
            problem = PhotoError(str(error))
        if problem is not None:
            if not self.closed:
                self._give_up(str(problem))
            return
        self._idle.put(slot)
        with self._lock:
            self._begun += 1
            if self._begun == self.threads:
                self.settled.set()

    def _asked(self, slot: _Slot, contents: list[bytes], preprocess: Preprocess) -> list[MeasuredPhoto | None]:
        arguments = {
            "place": slot.place,
            "lengths": [len(content) for content in contents],
            "preprocess": asdict(preprocess),
            "max_pixels": default_max_pixels(),
        }
        try:
            with slot.pool.worker(self) as worker:
                answer: Answer | PhotoError | None = slot.begun(worker)
                if answer is None:
                    (answer,) = worker.ask("measured_together", [b"".join(contents)], arguments)
                found = _photos(answer, len(contents)) if isinstance(answer, Answer) else answer
        except DecodingError as error:
            if self.closed:
                raise
            found = PhotoError(str(error))
        return self._noted(found, len(contents))

    def _noted(
        self, found: tuple[list[MeasuredPhoto | None], str] | PhotoError, offered: int
    ) -> list[MeasuredPhoto | None]:
        """What was found, and whether there is a point in going on."""
        with self._lock:
            self._offered += offered
            if isinstance(found, PhotoError):
                self._failures += 1
                photos: list[MeasuredPhoto | None] = []
                why = str(found)
            else:
                photos, why = found
                self._failures = 0
                self._taken += sum(photo is not None for photo in photos)
            useless = self._offered >= _OFFERED and not self._taken
            stop = self._failures >= _FAILURES or useless
        if stop:
            self._give_up(why or "none of them is of a kind that it takes")
        return photos

    def _give_up(self, why: str) -> None:
        with self._lock:
            first, self.given_up = not self.given_up, True
        self.settled.set()
        if first:
            logger.warning("photos are decoded without a GPU: %s", why.rstrip("."))


class _Slot:
    """A process, and the device that it has, for one thread at a time."""

    def __init__(self, place: str, pool: Pool) -> None:
        self.place = place
        self.pool = pool
        self._begun: int | None = None

    def begun(self, worker: Worker) -> PhotoError | None:
        """Have the process prove itself if it is a new one; why it cannot."""
        if worker.pid is not None and worker.pid == self._begun:
            return None
        (answer,) = worker.ask("begin", [b""], {"place": self.place, "saves": self.place != STAND_IN})
        if isinstance(answer, PhotoError):
            return answer
        self._begun = worker.pid
        return None


def is_worth_it(content: bytes) -> bool:
    """Whether a GPU may be faster with a file, as far as its first bytes and its size tell."""
    return len(content) >= FEWEST_BYTES and content.startswith(b"\xff\xd8\xff")


def decoders_for(device: str, files: Sequence[FoundFile], decoders: Decoders) -> GpuDecoders | None:
    """Processes for the GPUs of this machine, where a model runs on them and enough of `files` are large."""
    if device != "cuda" or sum(file.size >= FEWEST_BYTES for file in files) < _WORTH:
        return None
    from search.models import gpu

    return GpuDecoders([one.place for one in gpu.visible_gpus()], decoders.pool.settings)


def _photos(answer: Answer, count: int) -> tuple[list[MeasuredPhoto | None], str] | PhotoError:
    """The photos of an answer, with pixels of their own, and what went wrong; an error where it cannot be."""
    try:
        said: list[Any] = list(answer.fields["photos"])
        why = str(answer.fields["why"])[:300]
        photos: list[MeasuredPhoto | None] = []
        at = 0
        for fields in said:
            if fields is None:
                photos.append(None)
                continue
            width, height = fields["size"]
            end = at + 3 * int(width) * int(height)
            photo = measured_photo(Answer(dict(fields), answer.payload[at:end]))
            if isinstance(photo, PhotoError):
                return photo
            photos.append(replace(photo, pixels=photo.pixels.copy()))
            at = end
    except (ValueError, TypeError, LookupError, OverflowError) as error:
        return PhotoError(f"its process answered nonsense ({type(error).__name__})")
    return (photos, why) if len(photos) == count else PhotoError("its process answered nonsense")

"""Decoders: what can be had of a photo without decoding it in this process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Self

from PIL import Image

from indexer.decoding.answers import Answer, MeasuredPhoto, measured_photo, size_of
from indexer.decoding.channel import Buffer
from indexer.decoding.failures import RecentFailures
from indexer.decoding.pool import Pool, pool_of_process
from indexer.decoding.worker import Worker
from indexer.pixels import default_max_pixels
from search.errors import PhotoError
from search.models.preprocess import Preprocess

if TYPE_CHECKING:
    from indexer.decoding.settings import DecodingSettings

Box = tuple[float, float, float, float]


class Decoders:
    """Processes that decode photos, for one user of them: a run, a server. Close them, or use them as a context.

    Its methods raise `PhotoError` where a photo cannot be had, be it that it crashed its decoder, and `DecodingError`
    where no process can be started or they were closed.

    Attributes:
        pool: the processes, which others may use as well.
        closed: whether this user has done.
        failures: what it remembers of photos that took long and failed.
    """

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.closed = False
        self.failures = RecentFailures()

    @classmethod
    def of_process(cls, size: int, settings: DecodingSettings | None = None) -> Self:
        """Up to `size` of them, which all of this process share that ask for as many; `settings` are those of the
        environment by default.

        Raises:
            SettingsError: an environment variable has a value that cannot be.
        """
        if settings is None:
            from indexer.decoding.settings import DecodingSettings

            settings = DecodingSettings.read()
        return cls(pool_of_process(size, settings))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def size(self) -> int:
        """How many there are at most."""
        return self.pool.size

    def worker(self) -> AbstractContextManager[Worker]:
        """One of them, for its caller alone; waits until there is one."""
        return self.pool.worker(self)

    def close(self) -> None:
        """End those that are at work for this user; nobody wants their answers any more, nor others in its name."""
        self.pool.dismiss(self)

    def picture(
        self,
        content: bytes,
        *,
        draft: tuple[int, int] | None = None,
        max_pixels: int | None = None,
        box: Box | None = None,
        side: int | None = None,
        pixels: int | None = None,
    ) -> Image.Image:
        """The picture of a file's content, RGB and upright.

        Args:
            content: the whole file.
            draft: as for `read.decode`.
            max_pixels: as for `read.decode`.
            box: left, top, right and bottom of a part, as fractions; it is widened to a square as far as that goes.
            side: in pixels; where both sides are longer, a whole fraction of the picture whose sides are as long still.
            pixels: how many may be left of that; None: sixteen squares of `side`.
        """
        with self.worker() as worker:
            one = _one(worker, "picture", content, max_pixels, draft=draft, box=box, side=side, pixels=pixels)
            width, height = size_of(one)
            return Image.frombytes("RGB", (width, height), one.payload)

    def thumbnail(self, content: bytes, longest: int) -> bytes:
        """The content of a WebP file, upright, whose longest side has so many pixels, or as many as the photo's."""
        with self.worker() as worker:
            return bytes(_one(worker, "thumbnail", content, longest=longest).payload)

    def full_picture(self, content: bytes) -> bytes:
        """The content of a JPEG file of the photo's full size, upright."""
        with self.worker() as worker:
            return bytes(_one(worker, "full_picture", content).payload)

    def is_upright(self, path: str | bytes, format: str) -> bool:
        """Whether browsers show the JPEG, PNG or WebP file upright; reads no pixels."""
        with self.worker() as worker:
            (answer,) = worker.ask("is_upright", [b""], {"path": os.fsdecode(path), "format": format})
            if isinstance(answer, PhotoError):
                raise answer
            return answer.fields.get("upright") is True


def measured(worker: Worker, contents: Sequence[Buffer], preprocess: Preprocess) -> list[MeasuredPhoto | PhotoError]:
    """Measure some photos and make pixels of them for a model, or say what is wrong with each."""
    arguments = {"max_pixels": default_max_pixels(), "preprocess": asdict(preprocess)}
    answers = worker.ask("measured", contents, arguments)
    return [answer if isinstance(answer, PhotoError) else measured_photo(answer) for answer in answers]


def _one(worker: Worker, task: str, content: bytes, max_pixels: int | None = None, **arguments: Any) -> Answer:
    if max_pixels is None:
        max_pixels = default_max_pixels()
    (answer,) = worker.ask(task, [content], {"max_pixels": max_pixels, **arguments})
    if isinstance(answer, PhotoError):
        raise answer
    return answer

"""Pictures to search by: decoded off the event loop, a few at a time, within bounds."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from fastapi import UploadFile

from indexer.decoding.decoders import Decoders
from search.errors import PhotoError
from web.problems import ProblemError
from web.settings import ServerSettings

if TYPE_CHECKING:
    from PIL.Image import Image

# Large enough for any model's input; a JPEG is decoded no larger than it needs to be.
QUERY_DRAFT = (1024, 1024)
QUERY_PIXELS = 2 * 1024 * 1024
"""Of any other picture so many are kept, or four times as many where whole fractions of it allow no less."""


class Decoder:
    """Runs what decodes pictures in threads of its own, so that searches never wait behind it.

    Attributes:
        most: pictures that are decoded at a time.
        limiter: for those threads.
        decoders: the processes that do it, started when they are first needed: a picture that crashes one of them costs
            its own answer alone.
    """

    def __init__(self, settings: ServerSettings) -> None:
        """Start nothing yet. Raises `SettingsError` where an environment variable has a value that cannot be."""
        self.settings = settings
        # Memory is what bounds this: a picture at the pixel limit may take over a gigabyte while it is decoded.
        most = max(2, min(4, os.cpu_count() or 2))
        self.most = most
        self.limiter = anyio.CapacityLimiter(most)
        self.decoders = Decoders.of_process(most)

    async def query_image(self, upload: UploadFile) -> Image:
        """The uploaded picture as an upright RGB image.

        Raises:
            ProblemError: 413 when it is too large a file, 422 when it is not a picture that can be read.
        """
        limit = self.settings.max_upload_bytes
        if (upload.size or 0) > limit:
            raise ProblemError(
                413,
                f"The picture is too large: at most {limit / 2**20:g} MiB are taken. Send a smaller copy.",
            )

        def decode() -> Image:
            content = upload.file.read()
            return self.decoders.picture(
                content,
                draft=QUERY_DRAFT,
                max_pixels=self.settings.max_upload_pixels,
                side=QUERY_DRAFT[0],
                pixels=QUERY_PIXELS,
            )

        try:
            return await anyio.to_thread.run_sync(decode, limiter=self.limiter)
        except PhotoError as error:
            raise ProblemError(422, f"The picture cannot be searched by: {error}.") from error

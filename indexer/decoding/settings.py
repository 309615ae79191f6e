"""How long a photo may take to decode, and with how much memory, as settings that environment variables change."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from search.environment import EnvironmentSettings

MEBIBYTE = 2**20

# The hungriest of our formats, a lossless WebP with transparency that is turned, takes 21, and what is handed over 6
# more; the rest are allowances for its threads.
_BYTES_PER_PIXEL = 32
_SLACK = 256 * MEBIBYTE
_MOST_SECONDS = 86_400.0
_MOST_MEBIBYTES = 2**30  # in bytes still a number that every system takes


class DecodingSettings(EnvironmentSettings):
    """What a process that decodes may use.

    Attributes:
        seconds: for one photo, by the processor; by the clock it may take longer where the machine is busy.
        memory: MiB beyond what the process has when it has started; None: enough for the largest file and the largest
            picture that are read at all.
    """

    kind: ClassVar[str] = "decoding"
    prefix: ClassVar[str] = "SIGHTLINE_DECODING_"

    seconds: Annotated[float, Field(gt=0, le=_MOST_SECONDS, allow_inf_nan=False)] = 60.0
    memory: Annotated[int | None, Field(ge=64, le=_MOST_MEBIBYTES)] = None

    @property
    def memory_bytes(self) -> int:
        """`memory` in bytes."""
        if self.memory is not None:
            return self.memory * MEBIBYTE
        from indexer.files import MAX_BYTES
        from indexer.pixels import default_max_pixels  # here, since they bring Pillow along

        return MAX_BYTES + _SLACK + _BYTES_PER_PIXEL * default_max_pixels()

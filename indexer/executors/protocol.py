"""What every executor does."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Protocol

from indexer.known import KnownPhotos
from indexer.pipeline import ReadFile
from indexer.scan import FoundFile

if TYPE_CHECKING:
    from indexer.measure import EmbeddingMeter
    from search.models.encoder import Encoder
    from search.vectors.protocol import Floats

Group = tuple[list[ReadFile], "Floats"]
"""Files that were read, and the embeddings, float32[m, d], of those that have a photo, in their order."""


class Executor(Protocol):
    """Reads and embeds files, somewhere.

    Attributes:
        waits: sentences on what was left for a later run, once all is done.
        meter: what embedding has cost on this machine; None before it began, and where others did it.
    """

    waits: list[str]
    meter: EmbeddingMeter | None

    def embed(self, encoder: Encoder, files: Sequence[FoundFile], known: KnownPhotos) -> Generator[Group]:
        """Read `files`, and embed as `encoder` does those whose photo is not `known`.

        Every file comes back once at most, with a photo, a failure, or nothing to record of it. A group may be empty:
        it gives the caller its turn. Closing the generator stops all work.

        Raises:
            SightlineError: the work cannot be done; what came before is good.
        """
        ...

    def close(self) -> None:
        """Stop, and give back what was held. May be called twice."""
        ...

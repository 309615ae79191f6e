"""The photos that may answer one query: what retrieval asks of whatever holds them.

Two kinds hold photos: the catalog of a home with its vectors (`search.catalog_candidates`), and a collection in Milvus
(`search.milvus.candidates`). How lists are fused, judged and cut is the same for both (`search.retrieval`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from search.background import Background
from search.catalog.photo import Photo
from search.vectors.protocol import Floats, Keys

if TYPE_CHECKING:
    from search.ranking_settings import RankingSettings


class Candidates(Protocol):
    """The photos that pass a query's filters, in one state of the index. For one request, in one thread."""

    @property
    def background(self) -> Background | None:
        """What is to be expected of a text in this library; None before it was measured."""
        ...

    @property
    def are_all(self) -> bool:
        """Whether nothing was filtered or left out."""
        ...

    def __len__(self) -> int:
        """How many they are."""
        ...

    def embedding(self, photo_id: str) -> tuple[int, Floats] | None:
        """Key and embedding, float32[d], of a photo, whether it passes the filters or not; None where the index has
        none."""
        ...

    def leave_out(self, photo_id: str) -> None:
        """From now on this photo does not answer; nothing happens where there is none."""
        ...

    def nearest_to_text(
        self, vector: Floats, k: int, *, hub_weight: float, of_all: bool = False
    ) -> tuple[Floats, Keys, Floats]:
        """The `k` best for a text's embedding, float32[d], by similarity less `hub_weight` of their level; `of_all`:
        of all photos of the index.

        Returns:
            scores float32[j], keys int64[j] and cosines float32[j], j <= k, best first.
        """
        ...

    def nearest(self, vector: Floats, k: int) -> tuple[Floats, Keys]:
        """The `k` nearest to an embedding, float32[d]: cosines float32[j] and keys int64[j], j <= k, best first."""
        ...

    def by_words(self) -> Mapping[str, Mapping[int, float]]:
        """For each list by words (`literal`, `all words`, `some words`) the best photos, best first, with their BM25
        scores, of which higher ones are better."""
        ...

    def newest(self, count: int) -> tuple[int, Keys]:
        """How many there are, and the `count` newest of them, int64[j], newest first."""
        ...

    def by_date(self, keys: Keys) -> Keys:
        """The places in `keys` of the newest, the one before it, and so on."""
        ...

    def moments(self, keys: Keys, ranking: RankingSettings) -> dict[int, list[int]]:
        """See `search.moments.moments`."""
        ...


class Descriptions(Protocol):
    """What is known of photos, for a page of hits."""

    def ids(self, keys: Sequence[int]) -> Mapping[int, str]:
        """The ids of those of the photos that are still there."""
        ...

    def photos(self, keys: Sequence[int]) -> Mapping[int, Photo]:
        """The photos themselves."""
        ...

    def marked(
        self, words: Sequence[str], exact: Sequence[str], keys: Sequence[int]
    ) -> Mapping[int, list[tuple[str, str]]]:
        """For each photo that has some of the words, the fields that have, with a snippet in which they are marked."""
        ...

"""Where in a photo a text is: each place's share of their similarity, held against what texts in general find there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from search.errors import QueryError, UnknownPhotoError
from search.query import parse
from search.vectors.protocol import Floats

if TYPE_CHECKING:
    from PIL.Image import Image

    from search.models.dense import Places
    from search.questions import Questions

LEAST = 1.0
"""Deviations above texts in general from which on a place is shown at all."""
FULL = 4.0
"""Deviations that the strongest place needs to be shown in full. With the built-in model the strongest place of a
photo that a search puts first has 4 to 10; in photos that have nothing to do with a text, hardly any place has 3."""


@dataclass(frozen=True)
class SimilarityMap:
    """Where in one photo a text is.

    Attributes:
        query: the text that was looked for.
        similarity: the cosine of the whole photo with it.
        method: one of the names of `search.models.dense`.
        area: left, top, width and height of what the map covers, as fractions of the photo.
        deviations: float32 [rows, columns], the first row at the top: how much more each place speaks for the text than
            for texts in general, in standard deviations of the latter.
        shown: the same brought to 0..1 for showing.
    """

    query: str
    model: str
    similarity: float
    method: str
    area: tuple[float, float, float, float]
    deviations: Floats
    shown: Floats

    def to_json(self) -> dict[str, Any]:
        """The contract's fields."""
        rows, columns = self.shown.shape
        return {
            "query": self.query,
            "model": self.model,
            "similarity": round(self.similarity, 4),
            "method": self.method,
            "area": dict(zip(("left", "top", "width", "height"), (round(each, 6) for each in self.area), strict=True)),
            "rows": rows,
            "columns": columns,
            "map": [[round(value, 3) for value in row] for row in self.shown.tolist()],
            "deviations": [[round(value, 2) for value in row] for row in self.deviations.tolist()],
        }


def deviations(places: Places, text: Floats, bank: Floats) -> Floats:
    """How much more each place speaks for a text than for texts in general: float32 [rows, columns].

    The mean of a bank of sentences is taken from the text, so that places which are near to every text do not light up;
    the unit is how much the sentences differ from one another over all places of the photo.

    Args:
        places: what the places of a photo say.
        text: the embedding float32 [d] of the text.
        bank: the embeddings float32 [n, d] of sentences that stand for any text.
    """
    mean = bank.mean(axis=0)
    unit = float((places.vectors @ (bank - mean).T).std())
    return np.asarray(places.vectors @ (text - mean) / max(unit, 1e-12), dtype=np.float32)


def shown(deviations: Floats) -> Floats:
    """`deviations` brought to 0..1: in full at the photo's strongest place, if that stands out enough; what stands out
    less stays fainter, so that a photo without the thing does not seem to show it."""
    top = max(float(deviations.max()), FULL)
    return np.asarray(np.clip((deviations - LEAST) / (top - LEAST), 0.0, 1.0), dtype=np.float32)


def similarity_map(questions: Questions, photo_id: str, whole: Floats | None, image: Image, text: str) -> SimilarityMap:
    """Where in the photo `photo_id` the words of a query are.

    Args:
        questions: embed with the model of the index.
        photo_id: a photo of the index.
        whole: its embedding, float32[d].
        image: its picture, upright RGB, of any size.
        text: a query; its filters and what it excludes are passed over.

    Raises:
        QueryError: the query has no words to look for.
        UnknownPhotoError: there is no embedding.
        ModelError: the index's model cannot be loaded here.
    """
    query = parse(text)
    if not query.text:
        raise QueryError("The query has no words that could be looked for in a photo; add what the photo shows.")
    if whole is None:
        raise UnknownPhotoError(f"There is no photo {photo_id} in this index.")
    asked = questions.of_text(query.text)
    places = questions.encoder().places(image)
    found = deviations(places, asked, questions.bank())
    return SimilarityMap(
        query.text, questions.model.name, float(whole @ asked), places.method, places.area, found, shown(found)
    )

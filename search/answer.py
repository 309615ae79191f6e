"""What is asked of the engine and what it answers, as values; `to_json` is the contract of CLI and API."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from search.catalog.words import CLOSE, OPEN
from search.errors import QueryError
from search.query import Query, cleaned, parse

if TYPE_CHECKING:
    from PIL.Image import Image

    from search.facets import Facets
    from search.query import Term

MODES = ("auto", "meaning", "words")
SORTS = ("relevance", "date")


@dataclass(frozen=True)
class Request:
    """One search. Text (in the query language), pictures and photos of the index combine.

    Attributes:
        images: upright RGB pictures to search by.
        like: ids of photos of the index to search by.
        negative: what the photos must not show, as the query language's `-"…"`.
        mode: `meaning` ranks by embeddings, `words` by BM25 over the words of each photo, `auto` by both.
        include_all: also the hits judged not relevant.
        collapse: photos of one moment as one hit, where hits are ranked (see `search.moments`).
        listing: of which answer this is a further page, by that answer's own `listing`.
        facets: whether the answer tells what its hits have in common.
        apart_from: ids of photos that do not answer: those that `images` were cut from.
    """

    text: str = ""
    images: tuple[Image, ...] = ()
    like: tuple[str, ...] = ()
    negative: str = ""
    mode: str = "auto"
    limit: int = 50
    offset: int = 0
    sort: str = "relevance"
    include_all: bool = False
    collapse: bool = False
    listing: str | None = None
    facets: bool = False
    apart_from: tuple[str, ...] = ()


def understood(request: Request) -> Query:
    """What the text of a request, and what it does not want, say in the query language.

    Raises:
        QueryError: it cannot be answered as asked.
    """
    if request.mode not in MODES:
        raise QueryError(f"There is no mode “{request.mode}”; it is one of {', '.join(MODES)}.")
    if request.sort not in SORTS:
        raise QueryError(f"Hits cannot be sorted by “{request.sort}”; it is one of {', '.join(SORTS)}.")
    if request.limit < 1 or request.offset < 0:
        raise QueryError("A page needs a limit of at least 1 and an offset of at least 0.")
    query = parse(request.text)
    # Cleaned as any query is, but as one phrase: --not "red car" is not this, rather than neither red nor car.
    if negative := " ".join(cleaned(request.negative).replace('"', " ").split()):
        query = replace(query, excluded=(*query.excluded, negative))
    return query


@dataclass(frozen=True)
class Why:
    """One signal that found a hit: `meaning` or `image` with its cosine, or `words` with the field that matched.

    Attributes:
        rank: the hit's place among what the signal found, from 1.
        percentile: how many per cent of the photos that could have answered are further from what was asked.
        probability: the model's own judgement that text and photo belong together; only sigmoid models (SigLIP) have
            it.
        bm25: how well the photo's words match those of the query; only `words` have it.
        snippet: of the field, with matched words between `OPEN` and `CLOSE`.
    """

    signal: str
    rank: int
    similarity: float | None = None
    percentile: float | None = None
    probability: float | None = None
    bm25: float | None = None
    field: str | None = None
    snippet: str = ""

    def to_json(self) -> dict[str, Any]:
        """As it stands in an answer; a snippet becomes parts, each marked or not."""
        if self.signal == "words":
            return {
                "signal": "words",
                "rank": self.rank,
                "bm25": round(self.bm25 or 0.0, 6),
                "field": self.field,
                "parts": _parts(self.snippet),
            }
        document = {
            "signal": self.signal,
            "rank": self.rank,
            "similarity": round(self.similarity or 0.0, 4),
            "percentile": round(self.percentile or 0.0, 2),
        }
        if self.probability is not None:
            document["probability"] = round(self.probability, 4)
        return document


@dataclass(frozen=True)
class Hit:
    """A photo in an answer.

    Attributes:
        score: what the hits are ordered by; None where nothing was ranked.
        others: ids of further photos of the same moment that answer too, best first; none unless they collapse.
        preview: RGB of 4 x 3 pixels, rows from the top; None where that is not known.
        offline: no file of it was there when its library was last looked through: a drive is away.
    """

    id: str
    path: str
    score: float | None
    relevant: bool
    why: tuple[Why, ...]
    caption: str | None
    taken_at: str | None
    width: int
    height: int
    others: tuple[str, ...] = ()
    preview: bytes | None = None
    offline: bool = False

    def to_json(self) -> dict[str, Any]:
        """The contract's fields."""
        return {
            "id": self.id,
            "path": self.path,
            "score": None if self.score is None else round(self.score, 6),
            "relevant": self.relevant,
            "why": [why.to_json() for why in self.why],
            "caption": self.caption,
            "taken_at": self.taken_at,
            "width": self.width,
            "height": self.height,
            "others": list(self.others),
            "preview": None if self.preview is None else base64.b64encode(self.preview).decode("ascii"),
            "offline": self.offline,
        }


@dataclass(frozen=True)
class Answer:
    """Hits of one page, and what they are a part of.

    Attributes:
        total: how many there are on all pages.
        collapsed: how many further photos stand behind those hits, as `others`.
        left_out: how many more were found and judged not relevant.
        listing: what a request for another page names, so that it is of the same hits; None where pages lie too deep.
        conditions: what was understood as more than free words, in the order of the request's text.
        facets: what the hits of all pages have in common, if that was asked for.
    """

    query: str
    model: str
    total: int
    collapsed: int
    left_out: int
    took_ms: float
    listing: str | None
    hits: tuple[Hit, ...] = field(default=())
    conditions: tuple[Term, ...] = ()
    facets: Facets | None = None

    def to_json(self) -> dict[str, Any]:
        """The contract's fields."""
        return {
            "query": self.query,
            "conditions": [condition.to_json() for condition in self.conditions],
            "model": self.model,
            "total": self.total,
            "collapsed": self.collapsed,
            "left_out": self.left_out,
            "took_ms": round(self.took_ms, 1),
            "hits": [hit.to_json() for hit in self.hits],
            **({} if self.facets is None else {"facets": self.facets.to_json()}),
        }


def _parts(snippet: str) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    for i, piece in enumerate(snippet.split(OPEN)):
        marked, found, rest = piece.partition(CLOSE) if i else ("", "", piece)
        parts += [{"text": marked, "marked": True}] if found else []
        parts += [{"text": rest, "marked": False}] if rest else []
    return parts

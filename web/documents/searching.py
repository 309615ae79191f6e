"""The documents of a search."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from web.documents.document import PHOTO_ID, Document

Mode = Literal["auto", "meaning", "words"]
Sort = Literal["relevance", "date"]


class Part(Document):
    """A stretch of text that matched, or that stands between matches."""

    text: str
    marked: bool


class Why(Document):
    """One signal that brought a hit into the answer."""

    signal: Literal["meaning", "image", "words"]
    rank: int = Field(description="The hit's place among what this signal found, from 1.")
    similarity: float | None = Field(default=None, description="Cosine, for `meaning` and `image`.")
    percentile: float | None = Field(
        default=None,
        description="How many per cent of the photos that could have answered are further from what was asked.",
    )
    probability: float | None = Field(
        default=None,
        description="The model's own judgement that text and photo belong together, if it has one.",
    )
    bm25: float | None = Field(
        default=None, description="How well the photo's words match those of the query (Okapi BM25), for `words`."
    )
    field: str | None = Field(default=None, description="Where the words stand: `caption`, `text`, `name`, …")
    parts: list[Part] | None = Field(default=None, description="That text, with the matched words marked.")


class Hit(Document):
    """A photo in an answer."""

    id: str
    path: str = Field(description="For showing; photos are addressed by id alone.")
    score: float | None = Field(description="Higher is better; comparable within one answer only.")
    relevant: bool
    why: list[Why]
    caption: str | None
    taken_at: str | None
    width: int | None
    height: int | None
    others: list[str] = Field(description="Ids of further photos of the same moment, best first, if they collapse.")
    preview: str | None = Field(
        description="The photo as 4 x 3 pixels, stretched over the whole of it: RGB, rows from the top, as base64. "
        "`null` where an earlier version indexed it."
    )
    offline: bool = Field(description="No file of it was there when its folder was last looked through.")


class Condition(Document):
    """What was understood as more than free words."""

    kind: Literal["exact", "excluded", "filter"]
    value: str
    key: str | None = Field(description="Of a filter: `after`, `camera`, …")
    negative: bool
    start: int = Field(description="Where it begins in `q`, in characters (code points) from 0.")
    end: int


class FacetValue(Document):
    """What some of the hits have in common."""

    name: str
    filter: str = Field(description="Added to the query, it leaves those hits.")
    photos: int


class Period(Document):
    """Photos of one day, month or year."""

    on: str = Field(description="As the filter `on:` takes it: `2021-06-30`, `2021-06` or `2021`.")
    photos: int


class Dates(Document):
    """When the hits were taken."""

    unit: Literal["day", "month", "year"]
    counts: list[Period] = Field(description="In their order; those without a photo are left out.")
    undated: int


class Facets(Document):
    """What the hits of all pages have in common, the most frequent first."""

    photos: int = Field(description="How many were counted: all hits, and what collapsed behind them.")
    dates: Dates
    camera: list[FacetValue]
    folder: list[FacetValue] = Field(description="The first level of folders at which the hits part.")
    tag: list[FacetValue]
    kind: list[FacetValue] = Field(alias="is")
    orientation: list[FacetValue]
    type: list[FacetValue]


class SearchAnswer(Document):
    """The answer to a search."""

    query: str
    conditions: list[Condition] = Field(description="What of `q` was understood as more than free words.")
    model: str | None
    total: int = Field(description="All hits, of which `limit` from `offset` on are given.")
    collapsed: int = Field(description="How many further photos stand behind those hits, as their `others`.")
    left_out: int = Field(description="How many more were found and judged not relevant; `all=true` gives them too.")
    took_ms: float
    hits: list[Hit]
    listing: str | None = Field(description="Named by requests for further pages, so that they are of the same hits.")
    facets: Facets | None = Field(default=None, description="Only with `facets=true`.")


class Suggestion(Document):
    """What could stand in place of the word that is being typed."""

    kind: Literal["after", "before", "on", "camera", "folder", "type", "orientation", "is", "tag", "key"]
    text: str = Field(description="For the query.")
    label: str = Field(description="For people, without the key.")
    detail: str = Field(description="What tells it from others of the same label.")
    photos: int | None


class SuggestionsAnswer(Document):
    """Suggestions for the last word of a text."""

    start: int = Field(description="They replace the characters (code points) from here on …")
    end: int = Field(description="… to here, the end of the text.")
    suggestions: list[Suggestion]


SUGGESTIONS_EXAMPLE: dict[str, Any] = {
    "start": 6,
    "end": 9,
    "suggestions": [{"kind": "tag", "text": "tag:beach", "label": "beach", "detail": "", "photos": 25}],
}

SEARCH_EXAMPLE: dict[str, Any] = {
    "query": "a red motorcycle",
    "conditions": [],
    "model": "starter",
    "total": 1,
    "collapsed": 0,
    "left_out": 40,
    "took_ms": 12.4,
    "hits": [
        {
            "id": PHOTO_ID,
            "path": "/photos/2023/motorcycle.jpg",
            "score": 0.71,
            "relevant": True,
            "why": [
                {"signal": "meaning", "rank": 1, "similarity": 0.31, "percentile": 100.0},
                {
                    "signal": "words",
                    "rank": 1,
                    "bm25": 2.487286,
                    "field": "name",
                    "parts": [{"text": "motorcycle", "marked": True}, {"text": ".jpg", "marked": False}],
                },
            ],
            "caption": "a red motorcycle in a garage",
            "taken_at": "2023-05-14T16:20:11+02:00",
            "width": 4032,
            "height": 3024,
            "others": [],
            "preview": "hHhqjIFzmIx9oJSFZFhKblZGeV5Nc2BSMy0mSCwlTS8mPTEp",
            "offline": False,
        }
    ],
    "listing": "5f2c9a0b7d41e638",
}

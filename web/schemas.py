"""What the answers look like: the documents of the OpenAPI description, and checked against it in tests."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from search.catalog.editing import LONGEST_CAPTION

Mode = Literal["auto", "meaning", "words"]
Sort = Literal["relevance", "date"]
Size = Literal["small", "large"]

PHOTO_ID = "9f2c4be1d06a4f7d8e3b5a60c1d2e3f4"


class Document(BaseModel):
    """Base of every answer: a field that is not described here is a mistake."""

    model_config = ConfigDict(extra="forbid")


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


class SearchAnswer(Document):
    """The answer to a search."""

    query: str
    model: str | None
    total: int = Field(description="All hits, of which `limit` from `offset` on are given.")
    collapsed: int = Field(description="How many further photos stand behind those hits, as their `others`.")
    left_out: int = Field(description="How many more were found and judged not relevant; `all=true` gives them too.")
    took_ms: float
    hits: list[Hit]
    listing: str | None = Field(description="Named by requests for further pages, so that they are of the same hits.")


class Urls(Document):
    """Where the pictures of a photo are to be had."""

    thumb: str
    large: str
    file: str
    similar: str


class TextLine(Document):
    """A line of text in a picture."""

    text: str
    box: list[float] = Field(description="Left, top, right, bottom, as fractions of the picture.")
    confidence: float = Field(description="Mean probability of its characters.")


class Tag(Document):
    """A concept that a photo shows."""

    tag: str
    score: float = Field(description="0 to 1: how far it stands out of the other concepts.")


class CaptionEdit(Document):
    """What a person says of a photo."""

    caption: str = Field(
        max_length=LONGEST_CAPTION,
        description="Empty takes it back, and what a captioner wrote counts again.",
        examples=["Grandma's birthday"],
    )


class PhotoDocument(Document):
    """All that is known about one photo."""

    id: str
    path: str
    paths: list[str] = Field(description="Every place where the same picture lies.")
    width: int | None
    height: int | None
    format: str | None
    bytes: int | None
    taken_at: str | None = Field(description="ISO 8601; with an offset only where the camera recorded one.")
    camera: str | None
    lens: str | None
    latitude: float | None
    longitude: float | None
    caption: str | None
    caption_by: str | None = Field(description="`you`, or the captioner that wrote it.")
    kind: Literal["photo", "screenshot", "document", "drawing"] | None = Field(
        description="What kind of picture it is, as far as can be told; `null` until it is tagged."
    )
    tags: list[Tag] = Field(description="Best first.")
    text: list[TextLine] = Field(description="What was read in the picture, in reading order.")
    added_at: str | None
    urls: Urls


class Area(Document):
    """A part of a photo, as fractions of its width and height."""

    left: float = Field(description="Below 0 where the model sees a border beside the photo.")
    top: float
    width: float
    height: float


class SimilarityMap(Document):
    """Where in a photo a text is."""

    query: str = Field(description="The text that was looked for: the words of `q`.")
    model: str
    similarity: float = Field(description="The cosine of the whole photo with the text, as in a search.")
    method: Literal["feature map", "patch tokens", "occlusion"] = Field(
        description="How the model tells where something is: docs/models.md."
    )
    area: Area = Field(description="What the map covers of the photo; some models crop it, some add borders.")
    rows: int
    columns: int
    map: list[list[float]] = Field(
        description="For showing, 0 to 1: rows from the top, each from the left. Faint where nothing stands out."
    )
    deviations: list[list[float]] = Field(
        description="The same unscaled: how much more each place speaks for the text than for texts in general, in "
        "standard deviations of the latter."
    )


class Library(Document):
    """A folder tree that was indexed."""

    path: str
    photos: int
    files: int
    failures: int
    indexed_at: str | None


class Job(BaseModel):
    """One run of the indexer."""

    id: int | str
    kind: str
    state: str = Field(description="`running`, `done`, `failed`, `stopped` or `died`.")
    started_at: str | None
    ended_at: str | None
    counts: dict[str, Any]
    message: str | None


class Described(Document):
    """How far a stage of describing is, in photos."""

    described: int
    failed: int
    waiting: int


class Status(BaseModel):
    """The state of the index."""

    home: str
    version: str
    photos: int
    files: int
    failures: int = Field(description="Unreadable files; `sightline status --failures` names them.")
    libraries: list[Library]
    model: str | None
    fingerprint: str | None
    dimensions: int | None
    generation: int | None
    embedded: int
    captions: str = Field(description="The captioner, or `off`.")
    ocr: bool = Field(description="Whether text in pictures is read.")
    described: dict[str, Described] = Field(description="How far the stages `captions`, `tags` and `text` are.")
    jobs: list[Job]


class Health(Document):
    """That the process lives, or that searches can be answered."""

    status: Literal["ok", "ready"]


SIMILARITY_MAP_EXAMPLE: dict[str, Any] = {
    "query": "a red motorcycle",
    "model": "starter",
    "similarity": 0.3553,
    "method": "feature map",
    "area": {"left": 0.0, "top": 0.0, "width": 1.0, "height": 1.0},
    "rows": 2,
    "columns": 3,
    "map": [[0.0, 0.0, 0.02], [0.31, 1.0, 0.4]],
    "deviations": [[-0.4, 0.6, 1.15], [3.02, 7.5, 3.6]],
}

SEARCH_EXAMPLE: dict[str, Any] = {
    "query": "a red motorcycle",
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
        }
    ],
    "listing": "5f2c9a0b7d41e638",
}

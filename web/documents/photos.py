"""The documents of one photo."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from search.catalog.editing import LONGEST_CAPTION
from web.documents.document import Document

Size = Literal["small", "medium", "large"]


class Urls(Document):
    """Where the pictures of a photo are to be had."""

    thumb: str
    medium: str
    large: str
    picture: str
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
    offline: bool = Field(description="No file of it was there when its folder was last looked through.")
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

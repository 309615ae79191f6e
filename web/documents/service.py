"""The documents about the server and its index."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from web.documents.document import Document
from web.documents.jobs import Run


class Library(Document):
    """A folder tree that was indexed."""

    path: str
    photos: int
    files: int
    failures: int
    indexed_at: str | None
    missing: int = Field(description="Files that are not where they were, and are not given up.")
    offline: str | None = Field(description="Why the whole of it is away, and what to do; `null` while it is there.")


class Described(Document):
    """How far a stage of describing is, in photos."""

    described: int
    failed: int
    waiting: int


class Vectors(Document):
    """How the newest generation of the vector index is searched."""

    photos: int
    exact: bool = Field(description="Whether every vector is compared; else those that promise the most.")
    compared: int = Field(description="So many of them; 0 where a graph in Milvus is followed.")
    recall: dict[str, float] | None = Field(
        description="The share of the ten nearest photos that is found so, of `photos` and `texts`, as it was measured."
    )


class Status(BaseModel):
    """The state of the index."""

    home: str
    version: str
    photos: int
    files: int
    failures: int = Field(description="Unreadable files; `GET /api/failures` names them.")
    libraries: list[Library]
    model: str | None
    fingerprint: str | None
    dimensions: int | None
    generation: int | None
    vectors: Vectors | None
    revision: int = Field(description="Grows with every commit that changes which photos a search may find.")
    embedded: int
    captions: str = Field(description="The captioner, or `off`.")
    ocr: bool = Field(description="Whether text in pictures is read.")
    described: dict[str, Described] = Field(description="How far the stages `captions`, `tags` and `text` are.")
    jobs: list[Run] = Field(description="The last five.")


class Health(Document):
    """That the process lives, or that searches can be answered."""

    status: Literal["ok", "ready"]

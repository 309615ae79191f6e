"""The documents of duplicates."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from web.documents.document import PHOTO_ID, Document

MOST_DISMISSED = 100
_OTHER_ID = "1b7d40c92e5f4a8396d1c07be83a5f24"


class DuplicatePhoto(Document):
    """One copy."""

    id: str
    paths: list[str] = Field(description="The places where this very file lies, 100 at most.")
    files: int = Field(description="How many places these are in all.")
    width: int
    height: int
    format: str
    bytes: int
    taken_at: str | None
    added_at: str
    caption: str | None
    bits: int = Field(description="How many of the 63 bits of its perceptual hash differ from the best copy's.")
    distance: float = Field(
        description="From the best copy, by embeddings: 1 - cosine, in the library's own unit (docs/duplicates.md)."
    )


class DuplicateGroup(Document):
    """Copies of one picture."""

    kind: Literal["exact", "near"] = Field(
        description="`exact`: one photo, the same bytes in several files; `near`: photos that show the same picture."
    )
    best: str = Field(description="The id of the best copy: most pixels, then most bytes, then the oldest.")
    reclaimable: int = Field(description="Bytes of all copies but the best.")
    copies: int = Field(description="How many photos the group has.")
    photos: list[DuplicatePhoto] = Field(description="The best first, 100 at most; one alone where it is `exact`.")


class KindTotal(Document):
    """All groups of one kind."""

    total: int
    reclaimable: int = Field(description="Bytes.")


class KindTotals(Document):
    """Both kinds, whichever was asked for."""

    exact: KindTotal
    near: KindTotal


class DuplicatesAnswer(Document):
    """A page of groups, those with the most to reclaim first."""

    total: int = Field(description="All groups, of the kind that was asked for; `limit` from `offset` on are given.")
    reclaimable: int = Field(description="Bytes, of all these groups.")
    kinds: KindTotals
    unhashed: int = Field(
        description="Photos that an earlier version indexed: their near copies are not known until they are read again."
    )
    groups: list[DuplicateGroup]


class Dismissal(Document):
    """Photos that are not duplicates of each other."""

    photos: list[str] = Field(
        min_length=2, max_length=MOST_DISMISSED, description="Their ids.", examples=[[PHOTO_ID, _OTHER_ID]]
    )


class DismissalAnswer(Document):
    """What a dismissal, or taking it back, came to."""

    pairs: int = Field(description="Of how many pairs of photos that was new, or had been said.")


DUPLICATES_EXAMPLE: dict[str, Any] = {
    "total": 1,
    "reclaimable": 482133,
    "kinds": {"exact": {"total": 0, "reclaimable": 0}, "near": {"total": 1, "reclaimable": 482133}},
    "unhashed": 0,
    "groups": [
        {
            "kind": "near",
            "best": PHOTO_ID,
            "reclaimable": 482133,
            "copies": 2,
            "photos": [
                {
                    "id": PHOTO_ID,
                    "paths": ["/photos/2023/motorcycle.jpg"],
                    "files": 1,
                    "width": 4032,
                    "height": 3024,
                    "format": "JPEG",
                    "bytes": 3890211,
                    "taken_at": "2023-05-14T16:20:11+02:00",
                    "added_at": "2026-01-04T10:12:00+00:00",
                    "caption": "a red motorcycle in a garage",
                    "bits": 0,
                    "distance": 0.0,
                },
                {
                    "id": _OTHER_ID,
                    "paths": ["/photos/sent/motorcycle_small.jpg"],
                    "files": 1,
                    "width": 1600,
                    "height": 1200,
                    "format": "JPEG",
                    "bytes": 482133,
                    "taken_at": None,
                    "added_at": "2026-01-04T10:12:00+00:00",
                    "caption": None,
                    "bits": 2,
                    "distance": 0.041,
                },
            ],
        }
    ],
}

"""The documents of saved searches."""

from __future__ import annotations

from pydantic import Field

from search.catalog.saved_searches import LONGEST_NAME
from search.query import MAX_LENGTH
from web.documents.document import PHOTO_ID, Document
from web.documents.searching import Mode, Sort


class SearchName(Document):
    """What a saved search is called."""

    name: str = Field(min_length=1, max_length=LONGEST_NAME, pattern=r"\S", examples=["Summers at the lake"])


class SearchToSave(SearchName):
    """A search to keep: the fields of `POST /api/search`, without uploaded pictures."""

    q: str = Field(default="", max_length=MAX_LENGTH, examples=["a lake after:2020"])
    mode: Mode = "auto"
    sort: Sort = "relevance"
    all: bool = False
    collapse: bool = False
    like: list[str] = Field(default=[], max_length=8, examples=[[PHOTO_ID]])


class SavedSearch(SearchToSave):
    """A search that is kept."""

    id: int
    saved_at: str


class SavedSearches(Document):
    """All saved searches, the newest first."""

    searches: list[SavedSearch]

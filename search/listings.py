"""Listings: the order of recent answers, kept so that a later page goes on where the one before it ended, whatever was
written to the index in between."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace

from search.answer import Request
from search.catalog.model_records import ModelRecord
from search.retrieval import Found

KEPT = 64
"""How many listings are kept, those used last; one takes a few kilobytes as a rule, and about a megabyte at most."""


@dataclass(frozen=True)
class Listing:
    """An answer without its pages: what was found in which catalog (`Reader.file`), with which model."""

    catalog: tuple[int, ...]
    model: ModelRecord
    found: Found


class Listings:
    """The listings of one engine. Safe to use from many threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, Request, bytes], Listing] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, request: Request, catalog: tuple[int, ...]) -> Listing | None:
        """The listing that `request` names, if it is kept, of this very request and `catalog`, and holds the page."""
        if request.listing is None:
            return None
        name = _name(request.listing, request)
        with self._lock:
            listing = self._kept.get(name)
            if listing is None or listing.catalog != catalog:
                return None
            if not listing.found.holds(request.offset + request.limit):
                return None
            self._kept.move_to_end(name)
            return listing

    def keep(self, request: Request, listing: Listing) -> str:
        """Keep the answer to `request`; returns the name by which later pages find it."""
        token = secrets.token_hex(8)
        with self._lock:
            self._kept[_name(token, request)] = listing
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return token

    def clear(self) -> None:
        """Forget all: they are of an index that is not there any more."""
        with self._lock:
            self._kept.clear()


def _name(token: str, request: Request) -> tuple[str, Request, bytes]:
    """What is asked whatever the page; of pictures a digest, since they are too large to keep."""
    pictures = hashlib.blake2b(digest_size=16)
    for image in request.images:
        pictures.update(f"{image.mode} {image.size} ".encode() + image.tobytes())
    return token, replace(request, images=(), limit=1, offset=0, listing=None, facets=False), pictures.digest()

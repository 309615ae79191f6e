"""Duplicates: photos of which there are several copies, in groups.

*Exact* ones are one photo, the same bytes, in several files. *Near* ones are different photos that show the same
picture (`search.copies`). The best copy leads its group, and all others are near to it itself: were it enough to be
near to any member, a chain of edits would end far from where it began (`search.moments` has the same rule). Photos of
which a person said that they are no duplicates of each other are never in one group.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from search.catalog import dismissals, settings
from search.catalog.copies import in_several_files, unhashed
from search.catalog.photo import Photo, photos_by_key
from search.copies import Copies, near_copies
from search.hash_pairs import Places
from search.vectors.protocol import Doubles, Floats

if TYPE_CHECKING:
    from search.catalog.connection import Reader
    from search.vectors.snapshot import Snapshot

Kind = Literal["exact", "near"]
KINDS: tuple[Kind, ...] = get_args(Kind)

MOST_SHOWN = 100
KEPT = 10
"""Copies that were found are kept for so many times as long as that took, though the catalog has changed since."""


@dataclass(frozen=True)
class Member:
    """A photo of a group.

    Attributes:
        bits: how many bits of its perceptual hash differ from the best copy's.
        distance: of their embeddings (1 - cosine), as a part of the library's pair distance.
    """

    photo: Photo
    bits: int
    distance: float


@dataclass(frozen=True)
class Group:
    """Copies of one picture, the best first: the one of most pixels, of those the one of most bytes, then the oldest.

    Attributes:
        kind: `exact`: one photo in several files; `near`: different photos.
        count: how many photos it has; `members` are `MOST_SHOWN` of them at most.
        reclaimable: bytes: of a photo in several files, those of all but one; of different photos, those of all but the
            best, each counted once: if it lies in several files, it has an exact group besides.
    """

    kind: Kind
    count: int
    members: tuple[Member, ...]
    reclaimable: int


@dataclass(frozen=True)
class Duplicates:
    """A page of groups, those with the most to reclaim first.

    Attributes:
        total: how many groups there are on all pages.
        reclaimable: bytes, of all of them.
        kinds: of either kind, how many groups there are and the bytes to reclaim.
        unhashed: how many photos have no perceptual hash, since an earlier version indexed them: their near copies are
            not known.
    """

    total: int
    reclaimable: int
    kinds: dict[Kind, tuple[int, int]]
    unhashed: int
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class _Found:
    """What was found in one state of the catalog, before a person's word on it."""

    catalog: tuple[int, ...]
    revision: int
    kept_until: float
    copies: Copies
    several: list[tuple[int, int, int]]
    unhashed: int


@dataclass(frozen=True)
class _Group:
    """A group by keys, before its photos are looked up."""

    kind: Kind
    reclaimable: int
    keys: tuple[int, ...]
    bits: tuple[int, ...] = (0,)
    distances: tuple[float, ...] = (0.0,)


class DuplicateGroups:
    """The duplicates of one home: found when they are asked for, then kept for further pages. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: _Found | None = None
        self._groups: tuple[_Found, int, list[_Group]] | None = None

    def page(
        self, connection: Reader, snapshot: Callable[[], Snapshot], limit: int, offset: int, kind: Kind | None = None
    ) -> Duplicates:
        """The groups (of one `kind`, where it is given) from `offset` on, at most `limit` of them; one of which too few
        photos are left is missing.

        `connection` reads one state of the catalog, of which `snapshot` gives the vectors where they are needed.
        """
        with self._lock:
            found = self._current(connection, snapshot)
            said = dismissals.state(connection)
            if self._groups is None or self._groups[0] is not found or self._groups[1] != said:
                near = _near_groups(found.copies, dismissals.apart(connection))
                exact = (_Group("exact", size * more, (key,)) for key, size, more in found.several)
                groups = sorted([*exact, *near], key=lambda group: (-group.reclaimable, group.keys))
                self._groups = found, said, groups
            groups = self._groups[2]
        by_kind: dict[Kind, list[_Group]] = {one: [group for group in groups if group.kind == one] for one in KINDS}
        kinds = {one: (len(those), sum(group.reclaimable for group in those)) for one, those in by_kind.items()}
        asked = groups if kind is None else by_kind[kind]
        shown = list(_looked_up(connection, asked[offset : offset + limit]))
        reclaimable = sum(group.reclaimable for group in asked)
        return Duplicates(len(asked), reclaimable, kinds, found.unhashed, tuple(shown))

    def _current(self, connection: Reader, snapshot: Callable[[], Snapshot]) -> _Found:
        revision, found = settings.revision(connection), self._found
        # While a run is at work, each of its commits is a new revision.
        fresh = found is not None and (found.revision == revision or time.monotonic() < found.kept_until)
        if found is not None and found.catalog == connection.file and fresh:
            return found
        began = time.monotonic()
        copies = near_copies(connection, snapshot())
        several, blind = in_several_files(connection), unhashed(connection)
        kept_until = time.monotonic() + KEPT * (time.monotonic() - began)
        self._found = _Found(connection.file, revision, kept_until, copies, several, blind)
        return self._found


def _near_groups(copies: Copies, apart: dismissals.Apart) -> Iterator[_Group]:
    keys, sizes, seconds = (copies.photos[name] for name in ("key", "bytes", "seconds"))
    free = np.ones(len(keys), np.bool_)
    leaders, starts = np.unique(copies.one, return_index=True)
    ends = np.searchsorted(copies.one, leaders, side="right")
    for leader, start, end in zip(leaders.tolist(), starts.tolist(), ends.tolist(), strict=True):
        if not free[leader]:
            continue
        pairs = start + np.flatnonzero(free[copies.other[start:end]])
        if np.isnan(seconds[leader]):
            pairs = _of_one_date(pairs, seconds[copies.other[pairs]], copies.distances[pairs])
        if apart:
            allowed = dismissals.together(int(keys[leader]), keys[copies.other[pairs]].tolist(), apart)
            pairs = pairs[np.isin(keys[copies.other[pairs]], allowed)]
        others = copies.other[pairs]
        if len(others):
            free[leader] = free[others] = False
            yield _Group(
                "near",
                int(sizes[others].sum()),
                (int(keys[leader]), *keys[others].tolist()),
                (0, *copies.bits[pairs].tolist()),
                (0.0, *copies.distances[pairs].tolist()),
            )


def _of_one_date(pairs: Places, seconds: Doubles, distances: Floats) -> Places:
    """The copies of a photo without a date that can be copies of each other: of those with dates, the nearest one and
    what was taken with it."""
    undated = np.isnan(seconds)
    if undated.all():
        return pairs
    date = seconds[np.where(undated, np.inf, distances).argmin()]
    fitting: Places = pairs[undated | (seconds == date)]
    return fitting


def _looked_up(connection: sqlite3.Connection, groups: list[_Group]) -> Iterator[Group]:
    photos = photos_by_key(connection, [key for group in groups for key in group.keys[:MOST_SHOWN]])
    for group in groups:
        shown = zip(group.keys[:MOST_SHOWN], group.bits, group.distances, strict=False)
        members = tuple(Member(photos[key], bits, distance) for key, bits, distance in shown if key in photos)
        if group.keys[0] not in photos:
            continue
        best, *others = members
        several = len(best.photo.paths) - 1
        further = len(group.keys) - len(group.keys[:MOST_SHOWN])
        if group.kind == "exact" and several:
            yield Group("exact", 1, members, several * best.photo.bytes)
        elif further:
            yield Group("near", len(members) + further, members, group.reclaimable)
        elif others:
            yield Group("near", len(members), members, sum(member.photo.bytes for member in others))

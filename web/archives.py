"""Photos in one zip archive, sent while it is made: stored as they are, so that its length is known beforehand."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from zipstream import ZipStream

from indexer.files import content_of
from indexer.storage import storage_of
from search.catalog import paths as catalog_paths
from search.catalog.paths import is_remote
from search.catalog.photo import Photo
from search.errors import PhotoError
from web.photo_files import find_file, safe_name
from web.problems import ProblemError, displayable

MISSING = "missing photos.txt"
"""The file in an archive that names the photos which could not be put into it."""


@dataclass(frozen=True)
class _Member:
    path: bytes
    state: os.stat_result
    photo: str
    name: str


class Archive:
    """The files of some photos, by id; what is gone or has changed is named in a text instead.

    Raises:
        ProblemError: 404 when no photo has its file any more.
    """

    def __init__(self, photos: Mapping[str, Photo | None]) -> None:
        self._stream = ZipStream(sized=True)
        self._members: list[_Member] = []
        taken = {MISSING.casefold()}
        missing = []
        for photo_id, photo in photos.items():
            if photo is None:
                missing.append(f"{photo_id} (no photo of the index any more)")
                continue
            try:
                path, state = find_file(photo)
            except ProblemError:
                missing.append(displayable(catalog_paths.display(photo.paths[0])))
                continue
            name = _numbered(safe_name(Path(os.fsdecode(path))), taken)
            self._members.append(_Member(path, state, photo.id, name))
        if not self._members:
            raise ProblemError(
                404,
                "No file of these photos is where it was indexed. If their disk is absent, connect it; else run "
                "`sightline index`.",
            )
        for member in self._members:
            if is_remote(member.path):
                self._stream.add(_fetched(member), member.name, size=member.state.st_size)
            else:
                self._stream.add_path(os.fsdecode(member.path), member.name, recurse=False)
        if missing:
            told = "The files of these photos are not where they were indexed, or have changed since:"
            self._stream.add("\n".join([told, "", *missing, ""]), MISSING)

    def __len__(self) -> int:
        """In bytes."""
        return len(self._stream)

    def __iter__(self) -> Iterator[bytes]:
        """Its content. Raises `OSError` when a file goes or changes meanwhile: what was announced cannot be kept."""
        for member in self._members:
            now = storage_of(member.path).status(member.path)
            if (now.st_size, now.st_mtime_ns) != (member.state.st_size, member.state.st_mtime_ns):
                raise OSError(f"{catalog_paths.display(member.path)} has changed while it was being sent")
            yield from self._stream.file()
        yield from self._stream.finalize()


def _fetched(member: _Member) -> Iterator[bytes]:
    try:
        with content_of(member.photo, member.path) as content:
            yield content
    except PhotoError as error:
        raise OSError(f"{catalog_paths.display(member.path)} cannot be sent: {error}") from error


def _numbered(name: str, taken: set[str]) -> str:
    """`name`, with a number if it is `taken`; file systems that unpack it may not tell small letters from capitals."""
    stem, suffix = os.path.splitext(name)
    number = 1
    while name.casefold() in taken:
        number += 1
        name = f"{stem} ({number}){suffix}"
    taken.add(name.casefold())
    return name

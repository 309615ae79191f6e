"""The photos' own files: whether they are there as they were, and, where that is asked, whether they are the photos."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from indexer.decoding.decoders import Decoders
from indexer.scan import modified_ns
from indexer.storage import storage_of
from indexer.verify import facts
from indexer.verify.facts import AS_IT_COMES, held, is_nearly, reread
from indexer.verify.findings import Finding, Mending, View, are, listed, several
from search.catalog import changes, paths, settings, words
from search.catalog.changes import NewPhoto

Row = Sequence[Any]
_CHUNK = 256  # files
_HEARS_SECONDS = 0.5
_FACTS = ("width", "height", "format", "bytes", "taken_at", "camera", "lens", "latitude", "longitude")
_FAR = 6.0
"""Of 255, the mean difference of two previews: one that is made anew from a file differs by 3 at most, even of pages of
fine lines, and those of two photos hardly ever by less than 13."""

_FILES = (
    f"SELECT files.key, photo_key, folder, name, size, mtime_ns, id, preview, {', '.join(_FACTS)} FROM files"
    " JOIN photos ON photos.key = photo_key WHERE files.key > ? ORDER BY files.key LIMIT ?"
)


@dataclass
class _Seen:
    """What was seen of files.

    Attributes:
        away, changed: how many are, since they were indexed.
        undecoded: how many hold what was indexed, which cannot be decoded now.
        rotten: the paths of those that are not what was indexed.
        misplaced: those that hold another photo of the index than the catalog says, by keys.
        misknown: the photos, by keys, of which the catalog says something else than their files.
    """

    away: int = 0
    undecoded: int = 0
    changed: int = 0
    rotten: list[str] = field(default_factory=list)
    misplaced: dict[int, int] = field(default_factory=dict)
    misknown: set[int] = field(default_factory=set)


def look(view: View) -> Iterator[Finding]:
    """Files that are not what was indexed; that some are away or have changed is only noted."""
    total = view.one("SELECT count(*) FROM files WHERE photo_key IS NOT NULL")
    view.progress.stage("reading" if view.read_photos else "files", total)
    seen = _Seen()
    with facts.decoders() as decoders:
        pool = ThreadPoolExecutor(decoders.size, "verify")
        try:
            _see(view, seen, lambda rows: _heard([pool.submit(_wrong, row, decoders) for row in rows]))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            decoders.close()  # who stops the check waits for no photo that takes long
            pool.shutdown()
    if seen.away or seen.changed:
        said = [
            several(count, "file") + verb
            for count, verb in ((seen.away, " not there"), (seen.changed, " changed since"))
            if count
        ]
        view.notes.append(f"{' and '.join(said)}: `sightline index` brings that up to date.")
    if seen.undecoded:
        view.notes.append(
            f"{several(seen.undecoded, 'photo')} cannot be decoded now, so that only"
            f" {are(seen.undecoded, 'its', 'their')} content was checked."
        )
    if seen.misknown:
        keys = sorted(seen.misknown)
        yield Finding(
            "photos",
            f"What is known of {several(len(keys), 'photo')} is not what the files say: {view.names(keys)}.",
            lambda mending: reread(mending, keys),
            about="files",
        )
    if seen.misplaced:
        yield Finding(
            "files",
            f"{several(len(seen.misplaced), 'file')} {are(len(seen.misplaced), 'holds', 'hold')} another photo of the "
            f"index than it says: {view.names(seen.misplaced.values())}.",
            lambda mending: _relink(mending, seen.misplaced),
        )
    if seen.rotten:
        count = len(seen.rotten)
        yield Finding(
            "photo files",
            f"{several(count, 'file')} {are(count)} not what was indexed, though of the same size and date: "
            f"{listed(sorted(seen.rotten), count)}. A backup of your photos has what it was; where the change was "
            "wanted, `touch` the file and run `sightline index`.",
        )


def _see(view: View, seen: _Seen, read: Callable[[list[Row]], Iterable[_Wrong | None]]) -> None:
    doubtful = set(view.doubtful)
    last = done = 0
    # In pieces, each read at once: a run that is at work could not empty its log all the while.
    while rows := view.connection.execute(_FILES, (last, _CHUNK)).fetchall():
        last = rows[-1][0]
        states = storage_of(_place(rows[0])).each(_state, rows)
        as_they_were = [row for row, state in zip(rows, states, strict=True) if _is_as_it_was(row, state, seen)]
        to_read = [row for row in as_they_were if view.read_photos or row[1] in doubtful]
        for row, wrong in zip(to_read, read(to_read), strict=True):
            view.checked["photos_read"] += 1
            if wrong is None or wrong.undecoded:
                seen.undecoded += wrong is not None
                continue
            if not wrong.other:
                seen.misknown.add(row[1])
                continue
            other = view.connection.execute("SELECT key FROM photos WHERE id = ?", (wrong.other,)).fetchone()
            if other is not None:
                seen.misplaced[row[0]] = other[0]
            else:
                seen.rotten.append(paths.display(paths.join(row[2], row[3])))
        done += len(rows)
        view.progress.advance(done, len(seen.rotten))


def _heard(futures: list[Future[_Wrong | None]]) -> Iterator[_Wrong | None]:
    """Their results, one after the other. A Ctrl+C that comes right before a wait is heard of after it, so that none
    may be long."""
    for future in futures:
        while not wait([future], _HEARS_SECONDS).done:
            pass
        yield future.result()


def _state(row: Row) -> os.stat_result | None:
    path = _place(row)
    try:
        return storage_of(path).status(path)
    except (OSError, ValueError):
        return None


def _is_as_it_was(row: Row, state: os.stat_result | None, seen: _Seen) -> bool:
    _, _, _, _, size, mtime_ns, *_ = row
    if state is None:
        seen.away += 1
        return False
    if mtime_ns in AS_IT_COMES:  # a run is to read it
        return True
    if (state.st_size, modified_ns(state)) != (size, mtime_ns):
        seen.changed += 1
        return False
    return True


def _relink(mending: Mending, misplaced: dict[int, int]) -> None:
    """Let the catalog say which photos these files hold."""
    connection = mending.connection
    with mending.transaction():
        held = [row[0] for row in connection.execute("SELECT DISTINCT photo_key FROM files") if row[0] is not None]
        connection.executemany("UPDATE files SET photo_key = ? WHERE key = ?", [(b, a) for a, b in misplaced.items()])
        for photo in misplaced.values():
            changes.bring_back(connection, photo)
        words.refresh(connection, misplaced.values())
        changes.mark_orphans(connection, held)
        settings.grow_revision(connection)


def _place(row: Row) -> bytes:
    return paths.join(_path(row[2]), _path(row[3]))


def _path(value: object) -> bytes:
    return value if isinstance(value, bytes) else b"\0"  # which is no file's, and is found among the rows


class _Wrong(NamedTuple):
    """What is wrong with a file: `other` is the id of what it holds instead; '' where the catalog knows something else
    of its photo than it says; or it is what was indexed, and cannot be decoded now."""

    other: str = ""
    undecoded: bool = False


def _wrong(row: Sequence[object], decoders: Decoders) -> _Wrong | None:
    _, _, _, _, _, mtime_ns, identity, preview, *known = row
    file = held(_place(row), str(identity), decoders)
    if file is None:
        return None
    if file.id != identity:
        if is_nearly(str(identity), file.id):
            return _Wrong()
        return None if mtime_ns in AS_IT_COMES else _Wrong(file.id)
    photo = file.photo
    if photo is None:
        return _Wrong(undecoded=True)
    differs = [getattr(photo, fact) for fact in _FACTS] != known or _looks_otherwise(photo, preview)
    return _Wrong() if differs else None


def _looks_otherwise(photo: NewPhoto, preview: object) -> bool:
    if photo.look is None or not isinstance(preview, bytes):
        return False
    one, other = (np.frombuffer(look, np.uint8).astype(np.float64) for look in (photo.look.preview, preview))
    return bool(np.abs(one - other).mean() > _FAR)

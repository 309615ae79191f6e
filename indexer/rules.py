"""What of a library is indexed: patterns of the home, `.sightlineignore` files, hidden names, a least size.

Patterns are those of gitignore (https://git-scm.com/docs/gitignore), matched by pathspec: in a `.sightlineignore` they
are relative to its folder, and one deeper in the tree has the last word; those of the home are relative to the library.
"""

from __future__ import annotations

import json
import os
import sqlite3
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from indexer.storage import storage_of
from search.catalog import paths, settings
from search.errors import PhotoError, SightlineError

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

    from indexer.storage.protocol import ListedFile

IGNORE_FILE = b".sightlineignore"
SKIPPED_FOLDERS = frozenset({b"@eadir", b"#recycle", b"$recycle.bin", b"system volume information", b"lost+found"})
"""Folders of other programs, in lower case, which are never entered."""
_MOST_BYTES = 1_000_000  # of an ignore file; a larger one is none
_SETTING = "rules"


@dataclass(frozen=True)
class Rules:
    """What the home indexes of its libraries.

    Attributes:
        include: where there are any, only files that match one of these patterns.
        exclude: no file that matches one of these, nor a folder.
        hidden: whether names with a leading dot count.
        min_bytes: no smaller file.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    hidden: bool = False
    min_bytes: int = 0

    def changed(
        self,
        include: Sequence[str] | None,
        exclude: Sequence[str] | None,
        hidden: bool | None,
        min_bytes: int | None,
    ) -> Rules:
        """These rules with what is not None in the place of theirs; patterns that are `off` alone are none.

        Raises:
            SightlineError: a pattern cannot be one.
        """
        changes: dict[str, object] = {}
        for name, patterns in (("include", include), ("exclude", exclude)):
            if patterns is not None:
                changes[name] = () if tuple(patterns) == ("off",) else tuple(patterns)
                if name == "include" and patterns and all(pattern.startswith("!") for pattern in patterns):
                    raise SightlineError(
                        "--include needs a pattern of what is wanted; those with ! alone leave out all."
                    )
                for pattern in patterns:
                    if _spec([pattern]) is None:
                        raise SightlineError(
                            f"{pattern!r} is no pattern; they are those of gitignore, such as '*.png'."
                        )
        if hidden is not None:
            changes["hidden"] = hidden
        if min_bytes is not None:
            changes["min_bytes"] = min_bytes
        return replace(self, **changes)  # type: ignore[arg-type]


def read(connection: sqlite3.Connection) -> Rules:
    """The rules that the home remembers."""
    kept: dict[str, Any] = json.loads(settings.get(connection, _SETTING) or "{}")
    for name in ("include", "exclude"):
        kept[name] = tuple(kept.get(name, ()))
    return Rules(**kept)


def keep(connection: sqlite3.Connection, rules: Rules) -> None:
    """Remember them, in the caller's transaction."""
    settings.put(connection, _SETTING, json.dumps(asdict(rules)))


class Sieve:
    """The rules at work on one library."""

    def __init__(self, rules: Rules, root: bytes, say: Callable[[str], None] = lambda sentence: None) -> None:
        """Sift the library `root` (absolute); `say` hears of patterns that cannot be any."""
        self._rules = rules
        self._root = root
        self._say = say
        self._include = _spec(rules.include)
        self._exclude = _spec(rules.exclude)
        self._seen: tuple[bytes, set[bytes]] | None = None

    def looked_through(self, root: bytes, with_patterns: set[bytes]) -> None:
        """The whole tree at `root` was listed, and these folders alone have an ignore file: others are not asked for
        theirs any more."""
        self._seen = root, with_patterns

    def top(self) -> Level:
        """The level of the library's own folder. Raises OSError where its ignore file cannot be read."""
        return self._level(self._root, ())

    def level(self, folder: bytes) -> Level | None:
        """The level of a folder in the library, which need not be there any more; None where it is left out.

        Raises:
            OSError: an ignore file above it, or in it, cannot be read.
        """
        level: Level | None = self.top()
        for name in folder[len(self._root) :].split(b"/" if paths.is_remote(folder) else os.sep.encode()):
            if name and level is not None:
                level = level.enter(name)
        return level

    def _level(self, folder: bytes, above: _Specs, has_patterns: bool = True) -> Level:
        spec = self._ignore_file(folder) if has_patterns else None
        return Level(self, folder, (*above, (folder, spec)) if spec is not None else above)

    def _ignore_file(self, folder: bytes) -> GitIgnoreSpec | None:
        if self._seen is not None and paths.is_within(folder, self._seen[0]) and folder not in self._seen[1]:
            return None
        file = paths.join(folder, IGNORE_FILE)
        where = paths.display(file)
        try:
            with storage_of(file).opened(file) as (stream, status):
                if status.st_size > _MOST_BYTES:
                    raise PhotoError("it is too large")
                lines = stream.read(_MOST_BYTES).decode("utf-8", "surrogateescape").splitlines()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PhotoError:
            self._say(f"{where} is no list of patterns; it is passed over.")
            return None
        sound = []
        for number, line in enumerate(lines, start=1):
            if _spec([line]) is None:
                self._say(f"Line {number} of {where} is no pattern; it is passed over.")
            else:
                sound.append(line)
        return _spec(sound)

    def _leaves_out(self, folder: bytes, name: bytes, specs: _Specs, *, is_folder: bool) -> bool:
        if name.startswith(b".") and not self._rules.hidden:
            return True
        if is_folder and name.lower() in SKIPPED_FOLDERS:
            return True
        if not (specs or self._exclude or self._include):
            return False
        path = paths.join(folder, name)
        if self._exclude is not None and _says(self._exclude, self._root, path, is_folder):
            return True
        for base, spec in reversed(specs):  # the deepest that says anything
            said = _says(spec, base, path, is_folder)
            if said is not None:
                if said:
                    return True
                break
        if is_folder or self._include is None:
            return False
        # What is in a folder that is wanted, is wanted.
        return not self._include.match_file(os.fsdecode(path[len(self._root) :]).replace(os.sep, "/").strip("/"))


_Specs = tuple[tuple[bytes, "GitIgnoreSpec"], ...]


@dataclass(frozen=True)
class Level:
    """A folder that is not left out, with the ignore files that hold in it."""

    sieve: Sieve
    _folder: bytes
    _specs: _Specs

    def takes(self, name: bytes, size: int) -> bool:
        """Whether a file of this folder, of `size` bytes, is indexed as far as the rules go."""
        rules = self.sieve._rules
        return size >= rules.min_bytes and not self.sieve._leaves_out(self._folder, name, self._specs, is_folder=False)

    def takes_all(self, files: Sequence[ListedFile]) -> bool:
        """Whether these files, which are sorted, are all indexed, and that is to be told quickly."""
        if self._specs or self.sieve._exclude or self.sieve._include or self.sieve._rules.min_bytes:
            return False
        if self.sieve._rules.hidden:
            return True
        first = bisect_left(files, (b".",))
        return first == len(files) or not files[first][0].startswith(b".")

    def wants_folder(self, name: bytes) -> bool:
        """Whether a folder in this one is not left out."""
        return not self.sieve._leaves_out(self._folder, name, self._specs, is_folder=True)

    def enter(self, name: bytes, has_patterns: bool = True) -> Level | None:
        """The level of a folder in this one, where it is known to have no ignore file, or may have one; None where it
        is left out. Raises OSError where its ignore file cannot be read."""
        if not self.wants_folder(name):
            return None
        return self.sieve._level(paths.join(self._folder, name), self._specs, has_patterns)


def _says(spec: GitIgnoreSpec, base: bytes, path: bytes, is_folder: bool) -> bool | None:
    """Whether the patterns at `base` match the path itself; None where they say nothing of it.

    As git has it: the last pattern that matches decides, and what holds for a folder holds for what is in it only in so
    far as nobody looks there. pathspec's own verdict is on paths alone, of which it knows no folders.
    """
    relative = os.fsdecode(path[len(base) :]).replace(os.sep, "/").strip("/")
    if is_folder:
        relative += "/"
    for pattern in reversed(spec.patterns):
        if pattern.include is None or (found := pattern.match_file(relative)) is None:
            continue
        # The one group of a pattern's expression is the slash behind a folder: within the path, it was the folder that
        # matched. Of `*/`, which matches every slash, only the first is told.
        slash, last = found.match.lastgroup, len(relative) - 1
        if slash is None or found.match.start(slash) == last or (is_folder and found.match.re.search(relative, last)):
            return bool(pattern.include)
    return None


def _spec(lines: Sequence[str]) -> GitIgnoreSpec | None:
    """The patterns of these lines; None where there are no lines, or one is no pattern."""
    if not lines:
        return None
    from pathspec import GitIgnoreSpec

    try:
        return GitIgnoreSpec.from_lines(lines)
    except ValueError:
        return None

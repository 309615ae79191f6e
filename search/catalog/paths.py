"""Paths as the catalog keeps them (bytes) and as people see them (text)."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

_REMOTE = re.compile(rb"[a-z][a-z0-9+.-]*://")


def display(path: bytes) -> str:
    """The path as text that any terminal, JSON document or page can carry: undecodable bytes become U+FFFD."""
    return os.fsencode(path).decode("utf-8", "replace")


def is_remote(path: bytes) -> bool:
    """Whether it lies in an object storage: `s3://bucket/folder`. No absolute path of a disk begins so."""
    return _REMOTE.match(path) is not None


def join(folder: bytes, name: bytes) -> bytes:
    """The path of the file `name` in `folder`."""
    return folder.rstrip(b"/") + b"/" + name if is_remote(folder) else os.path.join(folder, name)


def common(folders: Sequence[bytes]) -> bytes | None:
    """The folder that holds all of these, which are absolute; None where there is none but the root of all."""
    bases = {match[0] if (match := _REMOTE.match(folder)) else b"" for folder in folders}
    if len(bases) != 1:
        return None
    base = bases.pop()
    try:
        # Of an object storage, as if it were the root of a disk.
        root = os.path.commonpath([b"/" + folder[len(base) :] if base else folder for folder in folders])
    except ValueError:  # on several drives
        return None
    if os.path.dirname(root) == root:
        return None
    return base + root.lstrip(b"/") if base else root


def is_within(path: bytes, root: bytes) -> bool:
    """Whether `path` is `root` or lies below it; both absolute and normalised."""
    return path == root or path.startswith(join(root, b""))

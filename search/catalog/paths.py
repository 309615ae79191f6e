"""Paths as the catalog keeps them (bytes) and as people see them (text)."""

from __future__ import annotations

import os


def display(path: bytes) -> str:
    """The path as text that any terminal, JSON document or page can carry: undecodable bytes become U+FFFD."""
    return os.fsencode(path).decode("utf-8", "replace")


def join(folder: bytes, name: bytes) -> bytes:
    """The path of the file `name` in `folder`."""
    return os.path.join(folder, name)


def is_within(path: bytes, root: bytes) -> bool:
    """Whether `path` is `root` or lies below it; both absolute and normalised."""
    return path == root or path.startswith(root.rstrip(os.sep.encode()) + os.sep.encode())

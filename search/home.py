"""The home: the one folder that holds all of Sightline's state."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs


@dataclass(frozen=True)
class Home:
    """Where the state lies. Making a `Home` touches nothing on the disk.

    Only `catalog.db` is precious; whatever else lies beside it is derived from it and is rebuilt when lost.
    """

    path: Path

    @classmethod
    def default(cls) -> Home:
        """The folder named by `SIGHTLINE_HOME`, else the platform's data folder for this user."""
        named = os.environ.get("SIGHTLINE_HOME")
        return cls(Path(os.path.expanduser(named)) if named else Path(platformdirs.user_data_dir("sightline")))

    @property
    def catalog_path(self) -> Path:
        """The SQLite database: the one commit point."""
        return self.path / "catalog.db"

    @property
    def vectors_dir(self) -> Path:
        """Published generations of the vector index, one folder each."""
        return self.path / "vectors"

    @property
    def thumbnails_dir(self) -> Path:
        """Thumbnails, made when they are first looked at."""
        return self.path / "thumbnails"

    @property
    def lock_path(self) -> Path:
        """The file whose operating-system lock the one writer holds."""
        return self.path / "writer.lock"

    @property
    def progress_path(self) -> Path:
        """How far the running job is; of no worth without it."""
        return self.path / "progress.json"


def cache_dir() -> Path:
    """Where lies what any home may use and anyone may delete: the folder named by `SIGHTLINE_CACHE`, else the
    platform's cache folder for this user."""
    named = os.environ.get("SIGHTLINE_CACHE")
    return Path(os.path.expanduser(named)) if named else Path(platformdirs.user_cache_dir("sightline"))

"""Catalogs as released versions left them, and the pictures that they are of.

A version's own catalog is made in a checkout of it, on a machine with a folder /photos to write to:

    PYTHONPATH=. python /path/to/this/tests/earlier.py 6.db.xz
"""

from __future__ import annotations

import lzma
import os
import sqlite3
import struct
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np

LIBRARY = Path("/photos")
OWN_CAPTION = "What I said of it"
WRITTEN_NS = 10**18
PICTURES = {"0.bmp": 0, "1.bmp": 1, "2.bmp": 2, "2021/3.bmp": 3, "2021/4.bmp": 4, "copy.bmp": 0}
DELETED = "2.bmp"
"""It is gone when the catalog is closed, and its photo an orphan."""


def make_library(folder: Path) -> None:
    """Pictures whose bytes depend on no library that writes pictures, and a file that cannot be read."""
    for name, seed in PICTURES.items():
        colours = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        pixels = np.kron(colours, np.ones((8, 8, 1), np.uint8)).tobytes()
        header = struct.pack(
            "<IHHIIiiHHIIiiII", 54 + len(pixels), 0, 0, 54, 40, 32, 32, 1, 24, 0, len(pixels), 2835, 2835, 0, 0
        )
        _write(folder / name, b"BM" + header + pixels)
    _write(folder / "broken.jpg", b"\xff\xd8\xff")


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    os.utime(file, ns=(WRITTEN_NS, WRITTEN_NS))


def main() -> None:
    from indexer.report import IndexOptions
    from indexer.run import run_index
    from search.catalog.editing import put_caption
    from search.home import Home

    make_library(LIBRARY)
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        run_index(home, [LIBRARY], IndexOptions(model="starter", captions="starter"))
        (LIBRARY / DELETED).unlink()
        run_index(home)
        put_caption(home, str(LIBRARY / "1.bmp"), OWN_CAPTION)
        with closing(sqlite3.connect(home.catalog_path)) as connection:
            connection.execute("UPDATE jobs SET host = 'nas', pid = 1")
            connection.commit()
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute("VACUUM")
        Path(sys.argv[1]).write_bytes(lzma.compress(home.catalog_path.read_bytes(), preset=9 | lzma.PRESET_EXTREME))


if __name__ == "__main__":
    main()

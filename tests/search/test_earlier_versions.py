"""Indexes that earlier versions wrote open, and go on."""

from __future__ import annotations

import lzma
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from earlier import DELETED, LIBRARY, OWN_CAPTION, PICTURES, make_library

from indexer.report import IndexOptions
from indexer.run import run_index
from search.catalog.connection import connect_to_read
from search.catalog.schema import VERSION
from search.engine import Engine, Request
from search.errors import CatalogError
from search.home import Home

pytestmark = pytest.mark.usefixtures("loaded_once")

CATALOGS = Path(__file__).parent / "catalogs"
VERSIONS = range(1, VERSION)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    make_library(tmp_path / "photos")
    (tmp_path / "photos" / DELETED).unlink()
    return tmp_path / "photos"


def unpack(version: int, home: Home, photos: Path) -> None:
    """Lay the catalog of a version into the home, with its photos where they are here."""
    home.path.mkdir()
    home.catalog_path.write_bytes(lzma.decompress((CATALOGS / f"{version}.db.xz").read_bytes()))
    with closing(sqlite3.connect(home.catalog_path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == version
        for table, column in (("libraries", "path"), ("files", "folder")):
            rows = connection.execute(f"SELECT key, {column} FROM {table}").fetchall()
            moved = [(os.fsencode(photos) + path[len(os.fsencode(LIBRARY)) :], key) for key, path in rows]
            connection.executemany(f"UPDATE {table} SET {column} = ? WHERE key = ?", moved)
        connection.commit()


def test_every_released_version_has_left_a_catalog() -> None:
    assert sorted(file.name for file in CATALOGS.iterdir()) == [f"{version}.db.xz" for version in VERSIONS]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_catalog_of_an_earlier_version_opens_and_goes_on(version: int, home: Home, photos: Path) -> None:
    unpack(version, home, photos)
    with pytest.raises(CatalogError, match="run `sightline index` once to bring it up to date"):
        connect_to_read(home)
    report = run_index(home, [], IndexOptions(captions="off"))
    left = {str(photos / name) for name in PICTURES if name != DELETED}
    assert (report.added, report.moved, report.removed, report.failed) == (0, 0, 0, 1)
    # Of the first version the built-in model was another one.
    assert report.embedded == (4 if version == 1 else 0)
    with Engine.open(home) as engine:
        listed = engine.search(Request(limit=100)).hits
        ranked = engine.search(Request("anything", mode="meaning", limit=100, include_all=True)).hits
        paths = {path for hit in listed if (photo := engine.photo(hit.id)) for path in map(os.fsdecode, photo.paths)}
        assert paths == left and {hit.id for hit in ranked} == {hit.id for hit in listed}
        if version > 1:
            (own,) = engine.search(Request("said", mode="words")).hits
            assert own.caption == OWN_CAPTION and own.path == str(photos / "1.bmp")
        make_library(photos)
        back = run_index(home)
        assert (back.added, back.embedded) == (1, 1 if version == 1 else 0)
        assert engine.search(Request(limit=100)).total == 5

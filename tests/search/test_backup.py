"""Backups: of one commit while others follow, whole or not there, and refused where something else would be lost."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from catalogs import put
from support import as_version, picture

from indexer.progress import Silent
from indexer.report import IndexOptions
from indexer.restore import restore
from indexer.run import run_index
from indexer.verify.run import verify
from search.catalog import settings
from search.catalog.backup import back_up
from search.catalog.connection import Reader, connect_to_read, connect_to_write
from search.errors import CatalogError, DamagedError, MissingCatalogError
from search.home import Home

pytestmark = pytest.mark.usefixtures("loaded_once")


def rows(catalog: Path) -> dict[str, list[tuple[object, ...]]]:
    """All that stands in a catalog."""
    with closing(sqlite3.connect(catalog)) as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {table: connection.execute(f'SELECT * FROM "{table}"').fetchall() for table in sorted(tables)}


@pytest.fixture
def filled(home: Home) -> Home:
    """A home of forty photos, of which a killed run has left the last in the log."""
    with closing(connect_to_write(home)) as connection, connection:
        for number in range(40):
            put(connection, f"{number}.jpg", camera="a camera " * 200)
    return home


@contextmanager
def log_kept(home: Home) -> Iterator[sqlite3.Connection]:
    """A writer that has committed a photo into the log, which a connection keeps from being emptied."""
    with closing(connect_to_read(home)), closing(connect_to_write(home)) as writer:
        with writer:
            put(writer, "in-the-log.jpg")
        assert Path(f"{home.catalog_path}-wal").stat().st_size
        yield writer


def test_a_backup_is_one_file_with_all_that_was_committed(filled: Home, tmp_path: Path) -> None:
    file = tmp_path / "backups" / "catalog.db"
    file.parent.mkdir()
    with log_kept(filled) as writer:
        put(writer, "not-committed.jpg")
        told: list[tuple[int, int]] = []
        made = back_up(filled, file, lambda done, total: told.append((done, total)))
        writer.rollback()
    assert os.listdir(file.parent) == ["catalog.db"]
    assert (made.photos, made.bytes) == (41, file.stat().st_size) and told[-1] == (made.bytes, made.bytes)
    assert rows(file) == rows(filled.catalog_path)
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert file.stat().st_mode == filled.catalog_path.stat().st_mode


def test_each_backup_while_a_run_is_at_work_is_consistent(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(60):
        picture(folder / f"{number}.jpg", number)
    made = threading.Event()

    class Paced(Silent):
        """Holds the run at each batch until a backup has been made since, however slow that is beside the run."""

        def advance(self, done: int, failed: int) -> None:
            made.clear()
            made.wait(timeout=10)

    # A small group makes many commits.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("indexer.record.GROUP_SECONDS", 0.0)
        options = IndexOptions(model="starter", captions="off", batch_size=4, workers=1)
        run = threading.Thread(target=run_index, args=(home, [folder], options, Paced()))
        run.start()
        counts = []
        while run.is_alive():
            try:
                counts.append(back_up(home, tmp_path / "backup.db").photos)
                made.set()
            except MissingCatalogError:
                continue
            with closing(sqlite3.connect(tmp_path / "backup.db")) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
                for sql in (
                    "SELECT count(*) FROM files LEFT JOIN photos ON photos.key = photo_key WHERE photos.key IS NULL",
                    "SELECT count(*) FROM photos WHERE key NOT IN (SELECT photo_key FROM files)",
                    "SELECT count(*) FROM photos WHERE key NOT IN (SELECT photo_key FROM embeddings)",
                    "SELECT count(*) FROM photos WHERE key NOT IN (SELECT rowid FROM words)",
                ):
                    assert connection.execute(sql).fetchone() == (0,), sql
                connection.execute("INSERT INTO words (words) VALUES ('integrity-check')")
        run.join()
    assert back_up(home, tmp_path / "backup.db").photos == 60
    assert len({count for count in counts if 0 < count < 60}) > 3, counts


def test_a_disk_that_is_full_leaves_the_older_backup_and_nothing_else(filled: Home, tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("a small disk cannot be made here")
    try:
        back_up(filled, folder / "backup.db")
        before = (folder / "backup.db").read_bytes()
        with pytest.raises(CatalogError, match=r"not enough room .* an older one there is as it was"):
            back_up(filled, folder / "backup.db")
        assert os.listdir(folder) == ["backup.db"] and (folder / "backup.db").read_bytes() == before
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_backup_that_cannot_be_written_whole_leaves_nothing(filled: Home, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(CatalogError, match="could not be written"):
            back_up(filled, tmp_path / "backup.db")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(os.listdir(tmp_path)) == ["home"]


def test_only_a_backup_is_replaced(filled: Home, tmp_path: Path) -> None:
    back_up(filled, tmp_path / "backup.db")
    with closing(connect_to_write(filled)) as connection, connection:
        put(connection, "new.jpg")
    assert back_up(filled, tmp_path / "backup.db").photos == 41
    (tmp_path / "empty").write_bytes(b"")
    assert back_up(filled, tmp_path / "empty").photos == 41
    (tmp_path / "letter.txt").write_text("Dear Grandma")
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("CREATE TABLE photos (key)")
    (tmp_path / "link").symlink_to(filled.catalog_path)
    for name, reason in (
        ("letter.txt", "no backup of Sightline's"),
        ("other.db", "no backup of Sightline's"),
        ("missing/backup.db", "make it first"),
        ("home", "is a folder"),
        ("link", "the catalog itself"),
    ):
        with pytest.raises(CatalogError, match=reason):
            back_up(filled, tmp_path / name)
    assert (tmp_path / "letter.txt").read_text() == "Dear Grandma"


def test_nothing_that_a_home_works_with_is_replaced(filled: Home, tmp_path: Path) -> None:
    other = Home(tmp_path / "other")
    with log_kept(filled):
        shutil.copytree(filled.path, other.path)
        for place in (filled, other):
            place.lock_path.touch()
        (tmp_path / "link").symlink_to(filled.path)
        (tmp_path / "log").symlink_to(f"{filled.catalog_path}-wal")
        before = {path: path.stat().st_ino for path in [*filled.path.iterdir(), *other.path.iterdir()]}
        for target in (
            filled.lock_path,
            Path(f"{filled.catalog_path}-wal"),
            tmp_path / "log",
            filled.path / "catalog.db-journal",
            filled.progress_path,
            filled.path / ".restoring-x.db",
            filled.path / "catalog-damaged-new.db",
            filled.path / "catalog-before-restore-new.db",
            filled.path / "catalog-new.db-wal.moving",
            filled.path / "progress.new",
            filled.path / "machine.json",
            tmp_path / "link" / "Thumbnails" / "backup.db",
            filled.path / ".hidden" / "backup.db",
            filled.vectors_dir / "backup.db",
            other.catalog_path,
        ):
            made = not target.parent.exists()
            target.parent.mkdir(exist_ok=True)
            with pytest.raises(CatalogError, match="name a file elsewhere"):
                back_up(filled, target)
            if made:
                target.parent.rmdir()
        assert {path: path.stat().st_ino for path in [*filled.path.iterdir(), *other.path.iterdir()]} == before
    back_up(filled, tmp_path / "backup.db")
    shutil.copy(tmp_path / "backup.db", filled.path / "catalog-before-restore-x.db")
    assert back_up(filled, filled.path / "catalog-before-restore-x.db").photos == 41


def test_a_backup_in_the_home_itself_is_kept_there(filled: Home, tmp_path: Path) -> None:
    """As in a container, whose home is the one volume."""
    folder = filled.path / "backups"
    folder.mkdir()
    (tmp_path / "link").symlink_to(filled.path)
    places = [filled.path / "backup.db", folder / "2026.db", tmp_path / "link" / "catalog.db.old", folder / "vectors"]
    for _ in range(2):
        for place in places:
            assert back_up(filled, place).photos == 40
    (filled.path / "letter.txt").write_text("Dear Grandma")
    with pytest.raises(CatalogError, match="no backup of Sightline's"):
        back_up(filled, filled.path / "letter.txt")
    before = {place: place.read_bytes() for place in places}
    with closing(sqlite3.connect(filled.catalog_path)) as connection, connection:
        connection.execute("DROP INDEX files_by_photo")
    assert verify(filled, repair=True).rebuilt is not None  # puts another catalog in its place, and sweeps
    restore(filled, folder / "2026.db", replace=True)
    assert verify(filled, repair=True).ok
    assert {place: place.read_bytes() for place in places} == before
    assert (filled.path / "letter.txt").read_text() == "Dear Grandma"


def test_a_damaged_catalog_replaces_no_backup(filled: Home, tmp_path: Path) -> None:
    back_up(filled, tmp_path / "backup.db")
    before = (tmp_path / "backup.db").read_bytes()
    with open(filled.catalog_path, "r+b") as file:
        file.seek(8 * 4096)
        file.write(bytes(12 * 4096))
    with pytest.raises(DamagedError, match="no backup was made of it"):
        back_up(filled, tmp_path / "backup.db")
    assert (tmp_path / "backup.db").read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["backup.db", "home"]


def test_what_lies_elsewhere_is_named(filled: Home, tmp_path: Path) -> None:
    with closing(connect_to_write(filled)) as connection, connection:
        settings.put(connection, "concepts", "/mine/concepts.txt")
        settings.put(connection, "model", "local-dir:/mine/model")
    assert back_up(filled, tmp_path / "backup.db").elsewhere == ("/mine/concepts.txt", "/mine/model")


def test_before_an_update_too_a_backup_can_be_made(filled: Home, tmp_path: Path) -> None:
    as_version(filled.catalog_path, 4)
    assert back_up(filled, tmp_path / "backup.db").photos == 40


def test_without_a_catalog_there_is_nothing_to_back_up(home: Home, tmp_path: Path) -> None:
    with pytest.raises(MissingCatalogError, match="no index"):
        back_up(home, tmp_path / "backup.db")
    home.path.mkdir()
    sqlite3.connect(home.catalog_path).execute("PRAGMA journal_mode = WAL").connection.close()
    with pytest.raises(MissingCatalogError, match="cut off"):
        back_up(home, tmp_path / "backup.db")


def test_on_a_read_only_disk_the_log_is_not_forgotten(
    filled: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite cannot read a log there, and opens the catalog as one that cannot change; here any reader is made to."""
    with log_kept(filled):
        opened = Reader.open
        monkeypatch.setattr(Reader, "open", lambda path, immutable: opened(path, immutable=True))
        assert back_up(filled, tmp_path / "backup.db").photos == 41

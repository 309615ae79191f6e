"""Restoring: what is no whole backup is refused, nothing is ever lost, and whoever reads goes on reading."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from catalogs import put
from support import as_version, picture

from indexer.lock import writer_lock
from indexer.report import IndexOptions
from indexer.restore import KEPT_AS, restore
from indexer.run import run_index
from search.answer import Request
from search.catalog import declared, editing, jobs
from search.catalog.backup import back_up
from search.catalog.connection import connect_to_read, connect_to_write, one_state
from search.catalog.schema import VERSION
from search.engine import Engine
from search.errors import CatalogError, LockedError, VersionError
from search.home import Home
from search.vectors.generations import newest

pytestmark = pytest.mark.usefixtures("loaded_once")

OPTIONS = IndexOptions(model="starter", captions="off")
EVERYTHING = Request("anything", mode="meaning", limit=1000, include_all=True)


def catalog(home: Home, photos: int, name: str = "") -> None:
    with closing(connect_to_write(home)) as connection, connection:
        for number in range(photos):
            put(connection, f"{name}{number}.jpg")


def photos(path: Path) -> int:
    """How many photos a catalog holds, which is whole."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return int(connection.execute("SELECT count(*) FROM photos").fetchone()[0])


def kept_in(home: Home) -> list[Path]:
    return sorted(home.path.glob(f"{KEPT_AS}*.db"))


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home over eight photos, a backup of it, and what it became of it when two were added: `home`, `backup.db`,
    `photos`."""
    folder = tmp_path_factory.mktemp("restore")
    (folder / "photos").mkdir()
    for number in range(8):
        picture(folder / "photos" / f"{number}.jpg", number)
    home = Home(folder / "home")
    run_index(home, [folder / "photos"], OPTIONS)
    back_up(home, folder / "backup.db")
    for number in range(8, 10):
        picture(folder / "photos" / f"{number}.jpg", number)
    run_index(home, [folder / "photos"], OPTIONS)
    return folder


@pytest.fixture
def grown(indexed: Path, home: Home) -> Home:
    """A home of its own, as `indexed` left it."""
    shutil.copytree(indexed / "home", home.path)
    return home


def test_into_an_empty_home_it_answers_at_once(indexed: Path, home: Home) -> None:
    done = restore(home, indexed / "backup.db")
    assert (done.photos, done.kept, done.generations) == (8, None, 0)
    with Engine.open(home) as engine:
        assert engine.search(EVERYTHING).total == 8
    report = run_index(home)
    assert (report.added, report.unchanged, report.embedded) == (2, 8, 2)
    with closing(connect_to_read(home)) as connection:
        model = connection.execute("SELECT key FROM models").fetchone()[0]
        assert newest(connection, model) is not None  # what was dropped has been published anew


def test_an_index_is_replaced_only_where_that_is_asked_and_is_kept(indexed: Path, grown: Home) -> None:
    with pytest.raises(CatalogError, match="--replace"):
        restore(grown, indexed / "backup.db")
    assert photos(grown.catalog_path) == 10 and not kept_in(grown)
    done = restore(grown, indexed / "backup.db", replace=True)
    assert kept_in(grown) == [done.kept] and done.kept is not None
    assert (photos(done.kept), photos(grown.catalog_path)) == (10, 8)
    assert not list(grown.path.glob(".restoring-*")) and not Path(f"{grown.catalog_path}-wal").exists()
    again = restore(grown, done.kept, replace=True)  # undone
    assert photos(grown.catalog_path) == 10 and len(kept_in(grown)) == 2 and again.generations == 1


def test_what_was_only_in_the_log_of_the_old_catalog_is_kept(home: Home, tmp_path: Path) -> None:
    catalog(home, 3)
    back_up(home, tmp_path / "backup.db")
    with closing(connect_to_read(home)) as reader:  # as a server has it open
        catalog(home, 2)
        assert Path(f"{home.catalog_path}-wal").stat().st_size
        done = restore(home, tmp_path / "backup.db", replace=True)
        assert reader.execute("SELECT count(*) FROM photos").fetchone() == (5,) and not reader.is_current(home)
    assert done.kept is not None and (photos(done.kept), photos(home.catalog_path)) == (5, 3)


def test_generations_of_another_history_are_not_taken_for_its_own(indexed: Path, grown: Home, tmp_path: Path) -> None:
    """Another home's generation, of the same number and over as many photos, lies where the backup names its own."""
    (tmp_path / "others").mkdir()
    for number in range(8):
        picture(tmp_path / "others" / f"{number}.jpg", 100 + number)
    other = Home(tmp_path / "other")
    run_index(other, [tmp_path / "others"], OPTIONS)
    theirs = {path.relative_to(other.vectors_dir): path.read_bytes() for path in other.vectors_dir.rglob("*.faiss")}
    done = restore(other, indexed / "backup.db", replace=True)
    assert done.generations == 0 and not list(other.vectors_dir.iterdir()) and theirs
    # Nor does a search that comes before the checksums were looked at.
    for name, content in theirs.items():
        (grown.vectors_dir / name).write_bytes(content)
    restore_only_the_catalog(grown, indexed / "backup.db")
    with Engine.open(other) as engine, Engine.open(grown) as same:
        assert [(hit.id, hit.score) for hit in engine.search(EVERYTHING).hits] == [
            (hit.id, hit.score) for hit in same.search(EVERYTHING).hits
        ]


def restore_only_the_catalog(home: Home, backup: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{home.catalog_path}{suffix}").unlink(missing_ok=True)
    shutil.copy(backup, home.catalog_path)


def test_an_engine_follows_without_a_failed_search(indexed: Path, grown: Home) -> None:
    totals: set[int] = set()
    stop = threading.Event()

    def ask(engine: Engine) -> None:
        while not stop.is_set():
            totals.add(engine.search(EVERYTHING).total)

    with Engine.open(grown) as engine:
        engine.search(EVERYTHING)
        threads = [threading.Thread(target=ask, args=(engine,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        program = (
            "import sys; from pathlib import Path; from indexer.restore import restore; from search.home import Home\n"
            "home = Home(Path(sys.argv[1]))\n"
            "for turn in range(2):\n"
            "    kept = restore(home, Path(sys.argv[2]), replace=True).kept\n"
            "    restore(home, kept, replace=True)\n"
            "restore(home, Path(sys.argv[2]), replace=True)\n"
        )
        done = subprocess.run([sys.executable, "-c", program, grown.path, indexed / "backup.db"], capture_output=True)
        stop.set()
        for thread in threads:
            thread.join()
        assert done.returncode == 0, done.stderr
        assert totals <= {8, 10} and engine.search(EVERYTHING).total == 8


def test_an_edit_that_waits_meanwhile_is_made_in_the_catalog_that_is_there_then(
    indexed: Path, grown: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(connect_to_read(grown)) as connection:
        (photo,) = connection.execute("SELECT id FROM photos ORDER BY key LIMIT 1").fetchone()
    waiting = threading.Thread(target=editing.put_caption, args=(grown, photo, "mine"))
    link = os.link

    def late(source: Path, target: Path) -> None:
        if not waiting.is_alive():
            waiting.start()
            waiting.join(0.5)  # it has opened the old catalog, and waits for its lock
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    restore(grown, indexed / "backup.db", replace=True)
    waiting.join()
    with closing(connect_to_read(grown)) as connection:
        assert connection.execute("SELECT text FROM captions WHERE author = 'you'").fetchall() == [("mine",)]


def test_a_damaged_backup_is_refused_and_changes_nothing(indexed: Path, grown: Home, tmp_path: Path) -> None:
    whole = (indexed / "backup.db").read_bytes()
    for name, content in (
        ("short.db", whole[: len(whole) // 2]),
        ("page.db", whole[:8192] + bytes(4096) + whole[12288:]),
        ("head.db", b"x" * 100 + whole[100:]),
        ("empty.db", b""),
        ("letter.txt", b"Dear Grandma" * 1000),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CatalogError, match=r"damaged|no backup|cannot be read"):
            restore(grown, tmp_path / name, replace=True)
    with pytest.raises(CatalogError, match="There is no file"):
        restore(grown, tmp_path / "missing.db", replace=True)
    assert photos(grown.catalog_path) == 10 and not kept_in(grown)
    assert not list(grown.path.glob(".restoring-*"))


def test_a_newer_backup_is_refused_and_an_older_one_brought_up_to_date(home: Home, tmp_path: Path) -> None:
    catalog(home, 3)
    back_up(home, tmp_path / "old.db")
    shutil.copy(tmp_path / "old.db", tmp_path / "new.db")
    as_version(tmp_path / "old.db", 3)
    with closing(sqlite3.connect(tmp_path / "new.db")) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(VersionError, match="newer Sightline"):
        restore(home, tmp_path / "new.db", replace=True)
    restore(home, tmp_path / "old.db", replace=True)
    with closing(connect_to_read(home)) as connection:
        assert connection.execute("SELECT count(*) FROM photos").fetchone() == (3,)


def test_a_run_that_was_at_work_is_not_at_work_on_the_restored_catalog(home: Home, tmp_path: Path) -> None:
    with closing(connect_to_write(home)) as connection, connection:
        jobs.start(connection, "index")
    back_up(home, tmp_path / "backup.db")
    with writer_lock(home), pytest.raises(LockedError):
        restore(home, tmp_path / "backup.db", replace=True)
    restore(home, tmp_path / "backup.db", replace=True)
    with closing(connect_to_read(home)) as connection:
        assert [job["state"] for job in jobs.recent(home, connection)] == ["died"]


def test_a_catalog_that_cannot_be_opened_is_replaced_and_kept_with_its_log(home: Home, tmp_path: Path) -> None:
    catalog(home, 3)
    back_up(home, tmp_path / "backup.db")
    home.catalog_path.write_bytes(b"not a database at all" * 1000)
    Path(f"{home.catalog_path}-wal").write_bytes(b"a log")
    done = restore(home, tmp_path / "backup.db", replace=True)
    assert done.kept is not None and photos(home.catalog_path) == 3
    assert done.kept.read_bytes().startswith(b"not a database")
    assert Path(f"{done.kept}-wal").read_bytes() == b"a log"


KILLED = """
import os, shutil, signal, sqlite3, sys
from pathlib import Path
from indexer.restore import restore
from search.home import Home
template, work, backup = map(Path, sys.argv[1:])
for killed_at in range(1000):
    home = Home(work / str(killed_at))
    shutil.copytree(template, home.path)
    server = sqlite3.connect(home.catalog_path)  # has the catalog open, as a server does
    server.execute("SELECT count(*) FROM photos").fetchone()
    child = os.fork()
    if not child:
        left = killed_at
        def hook(event, arguments):
            global left
            if event in ("os.rename", "os.link", "os.remove", "sqlite3.connect", "os.chmod"):
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(hook)
        restore(home, backup, replace=True)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    server.close()
    print(home.path, status, flush=True)
    if status == 0:
        break
"""


def test_killed_at_any_step_there_is_the_old_catalog_or_the_new_one(home: Home, tmp_path: Path) -> None:
    catalog(home, 3)
    back_up(home, tmp_path / "backup.db")
    template = tmp_path / "template"
    with closing(connect_to_read(home)):
        catalog(home, 2, "late-")
        shutil.copytree(home.path, template)  # with commits that are in the log alone
    (template / "catalog.db-shm").unlink()
    (tmp_path / "work").mkdir()
    arguments = [sys.executable, "-c", KILLED, template, tmp_path / "work", tmp_path / "backup.db"]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = []
    for path, _ in map(str.split, done.stdout.splitlines()):
        killed = Home(Path(path))
        with closing(connect_to_read(killed)) as connection:
            found.append(connection.execute("SELECT count(*) FROM photos").fetchone()[0])
        connect_to_write(killed).close()
        assert photos(killed.catalog_path) == found[-1]
        assert all(photos(kept) == 5 for kept in kept_in(killed))
        assert photos(kept_in(killed)[0]) == 5 if found[-1] == 3 else True
    assert found == sorted(found, reverse=True) and set(found) == {5, 3} and found.count(3) > 3, found


def test_cut_off_just_after_the_new_catalog_is_there_the_old_ones_shared_memory_is_not_believed(
    home: Home, tmp_path: Path
) -> None:
    catalog(home, 400)
    shutil.copy(home.catalog_path, tmp_path / "large.db")
    small = Home(tmp_path / "small")
    catalog(small, 3)
    back_up(small, tmp_path / "backup.db")
    with closing(connect_to_read(home)) as server:  # in whose memory the old one's size stays
        with closing(connect_to_write(home)) as writer:
            writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        os.replace(tmp_path / "backup.db", home.catalog_path)
        assert Path(f"{home.catalog_path}-shm").exists()
        catalog(home, 1, "more-")
        assert photos(home.catalog_path) == 4
        assert server.execute("SELECT count(*) FROM photos").fetchone() == (400,)


def test_writing_in_a_process_that_reads_as_well_takes_no_log_from_its_readers(home: Home) -> None:
    """A file that a process closes takes all its locks along, and others believe then that nobody reads."""
    catalog(home, 3)
    with closing(connect_to_read(home)) as reader:
        catalog(home, 1, "late-")
        program = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('DELETE FROM searches').connection.close()"
        subprocess.run([sys.executable, "-c", program, home.catalog_path], check=True)
        assert Path(f"{home.catalog_path}-wal").exists()
        assert reader.execute("SELECT count(*) FROM photos").fetchone() == (4,)


def test_while_somebody_keeps_reading_what_was_before_nothing_is_replaced(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.catalog.replacing.BUSY_MS", 20)
    catalog(home, 3)
    back_up(home, tmp_path / "backup.db")
    with closing(connect_to_read(home)) as reader, one_state(reader):
        reader.execute("SELECT count(*) FROM photos").fetchone()
        catalog(home, 2, "late-")
        with pytest.raises(CatalogError, match=r"keeps .* busy"):
            restore(home, tmp_path / "backup.db", replace=True)
    assert photos(home.catalog_path) == 5 and not kept_in(home)
    assert restore(home, tmp_path / "backup.db", replace=True).photos == 3


def test_a_backup_with_another_schema_is_refused(home: Home, tmp_path: Path) -> None:
    catalog(home, 3)
    back_up(home, tmp_path / "backup.db")
    for name, *statements in (
        ("without", "DROP TABLE words", "DROP TABLE searches"),
        ("index", "DROP INDEX files_by_photo"),
        ("column", "ALTER TABLE photos ADD COLUMN mine"),
        ("table", "ALTER TABLE searches RENAME TO other", "CREATE VIEW searches AS SELECT * FROM other"),
    ):
        shutil.copy(tmp_path / "backup.db", tmp_path / f"{name}.db")
        with closing(sqlite3.connect(tmp_path / f"{name}.db")) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()
        with pytest.raises(CatalogError, match=r"is damaged \(.* not as Sightline makes it"):
            restore(home, tmp_path / f"{name}.db", replace=True)
    assert photos(home.catalog_path) == 3 and not kept_in(home)
    with closing(sqlite3.connect(tmp_path / "backup.db")) as connection:
        connection.execute("CREATE TABLE mine (key)")  # says nothing of what is Sightline's
        connection.execute("ANALYZE")
        connection.commit()
    assert restore(home, tmp_path / "backup.db", replace=True).photos == 3


@pytest.mark.parametrize("version", [VERSION, 3])
def test_what_another_program_has_made_in_a_catalog_is_left_out_of_what_is_restored(
    home: Home, tmp_path: Path, version: int
) -> None:
    catalog(home, 3)
    back_up(home, tmp_path / "backup.db")
    if version < VERSION:
        as_version(tmp_path / "backup.db", version)
    with closing(sqlite3.connect(tmp_path / "backup.db")) as connection:
        connection.execute("CREATE VIEW mine AS SELECT * FROM photos, words")
        connection.execute('CREATE INDEX "my ""own" ON photos (camera)')
        connection.execute("CREATE TABLE theirs (key)")
        connection.execute("CREATE INDEX by_key ON theirs (key)")
        for table in ("settings", "files", "photos", "_sqlite_migrations"):
            for event in ("INSERT", "UPDATE"):
                connection.execute(
                    f"CREATE TRIGGER {event}_{table} AFTER {event} ON {table} BEGIN DELETE FROM files; END"
                )
        connection.execute("DROP TRIGGER IF EXISTS files_deleted")
        connection.execute("CREATE TRIGGER files_deleted AFTER DELETE ON files BEGIN DELETE FROM captions; END")
        connection.execute("DROP TRIGGER IF EXISTS files_updated")
        connection.commit()
    before = (tmp_path / "backup.db").read_bytes()
    done = restore(home, tmp_path / "backup.db", replace=True)
    assert {"view mine", 'index my "own', "trigger UPDATE_settings", "trigger files_deleted"} < set(done.dropped)
    assert not {"index by_key", "table theirs"} & set(done.dropped)
    assert photos(home.catalog_path) == 3 and (tmp_path / "backup.db").read_bytes() == before
    with closing(connect_to_read(home)) as connection:
        assert connection.execute("SELECT count(*) FROM files").fetchone() == (3,)
        assert connection.execute("SELECT count(*) FROM theirs").fetchone() == (0,)
        assert declared.strange(connection) == ([], [])

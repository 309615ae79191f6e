"""A catalog that is damaged, of another version or replaced under a server: a problem document, never a 500."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from fastapi.testclient import TestClient
from problem_checks import assert_problem
from repairs import change

from indexer.verify.run import verify
from search.catalog.backup import back_up
from search.catalog.connection import connect_to_write
from search.home import Home
from search.ranking_settings import RankingSettings
from web.access import EngineAccess
from web.app import create_app
from web.jobs import Jobs
from web.problems import DAMAGED_INDEX, NO_INDEX, OTHER_VERSION
from web.watching import Watch

pytestmark = pytest.mark.usefixtures("loaded_once")
ASKED = ("/api/search?limit=5", "/api/search?q=thunder&mode=words", "/api/status", "/api/duplicates", "/api/jobs")


@contextmanager
def served(home: Home) -> Iterator[TestClient]:
    with TestClient(create_app(home), base_url="http://127.0.0.1:8000") as client:
        yield client


def overwrite(home: Home, page: int) -> None:
    with open(home.catalog_path, "r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xa5" * 4096)


def watched(home: Home) -> dict[str, object]:
    watch = Watch(home, Jobs(EngineAccess(home, RankingSettings.read())))
    try:
        return watch.look().status
    finally:
        watch.close()


def test_a_damaged_catalog_is_a_problem_of_its_own_kind_with_what_to_do(copy: Home) -> None:
    overwrite(copy, 1)
    with served(copy) as client:
        for address in (*ASKED, "/readyz"):
            document = assert_problem(client.get(address), 503)
            assert document["type"] == DAMAGED_INDEX and "sightline verify --repair" in document["detail"]
        assert client.get("/healthz").status_code == 200 and client.get("/metrics").status_code == 200
    status = watched(copy)
    assert "is damaged" in str(status["detail"]) and status["missing"] is False


def test_a_page_that_breaks_under_a_running_server_is_said_and_mended_without_a_restart(copy: Home) -> None:
    with served(copy) as client:
        total = client.get("/api/search?limit=5").json()["total"]
        with closing(sqlite3.connect(copy.catalog_path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'photos'").fetchone()
        overwrite(copy, root)
        document = assert_problem(client.get("/api/search?q=camera:3&mode=words"), 503)
        assert document["type"] == DAMAGED_INDEX and "--repair" in document["detail"]
        assert "is damaged" in str(watched(copy)["detail"])
        assert verify(copy, repair=True).ok
        assert client.get("/api/search?limit=5").json()["total"] == total
        assert watched(copy)["detail"] is None


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE files SET folder = CAST(folder AS TEXT)",
        "UPDATE texts SET lines = '[['",
        "UPDATE captions SET text = CAST(x'ff' AS TEXT)",
        "UPDATE settings SET value = 'none' WHERE name = 'revision'",
    ],
)
def test_a_value_that_cannot_be_is_damage_whatever_it_leads_to(copy: Home, statement: str) -> None:
    with closing(sqlite3.connect(copy.catalog_path)) as connection:
        (photo,) = connection.execute("SELECT id FROM photos JOIN texts ON photo_key = key LIMIT 1").fetchone()
    change(copy, statement)
    with served(copy) as client:
        answers = [client.get(address) for address in (*ASKED, f"/api/photos/{photo}")]
    assert {answer.status_code for answer in answers} <= {200, 503}
    problems = [answer.json() for answer in answers if answer.status_code == 503]
    assert problems and all(document["type"] == DAMAGED_INDEX for document in problems)


def test_another_version_is_told_from_damage_and_from_no_index(copy: Home, home: Home) -> None:
    change(copy, "PRAGMA user_version = 99")
    with served(copy) as client:
        document = assert_problem(client.get("/api/search"), 503)
        assert document["type"] == OTHER_VERSION and "upgrade" in document["detail"]
    shutil.rmtree(copy.path)
    with served(copy) as client:
        assert assert_problem(client.get("/api/search"), 503)["type"] == NO_INDEX
        assert watched(copy)["missing"] is True


def test_a_catalog_that_is_busy_is_asked_again_rather_than_forgotten(
    copy: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(copy, Jobs(EngineAccess(copy, RankingSettings.read())))
    photos = watch.look().status["photos"]

    def locked(*arguments: object) -> None:
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(watch, "_count", locked)
    status = watch.look().status
    assert (status["photos"], status["detail"], status["missing"]) == (photos, None, False)
    watch.close()


def test_a_server_follows_a_restored_backup_without_a_failed_request(copy: Home) -> None:
    backup = copy.path.parent / "backup.db"
    back_up(copy, backup)
    with closing(connect_to_write(copy)) as connection, connection:
        connection.execute("DELETE FROM captions")
        connection.execute("UPDATE photos SET orphaned_at = '2026-01-01T00:00:00+00:00' WHERE key > 30")
        connection.execute("UPDATE settings SET value = value + 1 WHERE name = 'revision'")
    stop, statuses, totals = threading.Event(), set[int](), set[int]()
    with served(copy) as client:

        def ask() -> None:
            while not stop.is_set():
                answer = client.get("/api/search?limit=5")
                statuses.add(answer.status_code)
                totals.add(answer.json().get("total", -1))
                statuses.add(client.get("/api/status").status_code)

        asking = [threading.Thread(target=ask) for _ in range(2)]
        for thread in asking:
            thread.start()
        program = (
            "import sys; from pathlib import Path; from indexer.restore import restore; from search.home import Home\n"
            "home, backup = Home(Path(sys.argv[1])), Path(sys.argv[2])\n"
            "for turn in range(2):\n"
            "    kept = restore(home, backup, replace=True).kept\n"
            "    restore(home, kept, replace=True)\n"
            "restore(home, backup, replace=True)\n"
        )
        done = subprocess.run([sys.executable, "-c", program, copy.path, backup], capture_output=True)
        stop.set()
        for thread in asking:
            thread.join()
        assert done.returncode == 0, done.stderr
        assert statuses == {200} and totals <= {30, 37}
        assert client.get("/api/search?limit=5").json()["total"] == 37

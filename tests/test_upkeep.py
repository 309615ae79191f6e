"""`backup`, `restore` and `verify` on the command line: what stands on stdout, how they end, what damage looks like."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from faults.base import Base
from typer.testing import CliRunner, Result

import sightline
from search.home import Home

pytestmark = pytest.mark.usefixtures("loaded_once")


def run(*arguments: object, home: Home) -> Result:
    return CliRunner().invoke(sightline.app, [*map(str, arguments), "--home", str(home.path)])


def document(result: Result, status: int = 0) -> Any:
    assert result.exit_code == status, result.output
    return json.loads(result.stdout)


def overwrite(home: Home, page: int) -> None:
    with open(home.catalog_path, "r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xa5" * 4096)


def test_backup_and_restore_tell_what_they_did(copy: Home, tmp_path: Path) -> None:
    file = tmp_path / "backup.db"
    made = document(run("backup", file, "--json", home=copy))
    assert set(made) == {"path", "bytes", "photos", "revision", "elsewhere", "seconds"}
    assert (made["path"], made["photos"], made["bytes"]) == (str(file), 37, file.stat().st_size)
    assert "37 photos" in run("backup", file, home=copy).stdout
    refused = document(run("restore", file, "--json", home=copy), 1)
    assert set(refused) == {"error"} and "--replace" in refused["error"]
    done = document(run("restore", file, "--replace", "--json", home=copy))
    assert set(done) == {"home", "file", "photos", "kept", "dropped", "generations", "seconds"}
    assert (done["photos"], done["generations"]) == (37, 2) and Path(done["kept"]).is_file()
    assert "is kept as" in run("restore", file, "--replace", home=copy).stdout
    missing = run("backup", tmp_path / "no" / "folder.db", home=copy)
    assert missing.exit_code == 1 and missing.stderr.splitlines()[-1].endswith("make it first.")


def test_verify_tells_what_it_checked_and_its_status_tells_the_rest(copy: Home) -> None:
    sound = document(run("verify", "--json", home=copy))
    assert set(sound) == {"checked", "problems", "notes", "kept", "saved", "lost", "ok", "seconds"}
    assert sound["ok"] and sound["problems"] == [] and sound["checked"]["photos"] == 37
    assert "Nothing is wrong." in run("verify", home=copy).stdout
    with closing(sqlite3.connect(copy.catalog_path)) as connection, connection:
        connection.execute("DELETE FROM words")
    wrong = document(run("verify", "--json", home=copy), 1)
    (problem,) = wrong["problems"]
    assert set(problem) == {"kind", "what", "mendable", "mended"} and not wrong["ok"]
    assert (problem["kind"], problem["mendable"], problem["mended"]) == ("words", True, False)
    plain = run("verify", home=copy)
    assert plain.exit_code == 1 and "can be mended: The words of 37 photos" in plain.stdout
    mended = document(run("verify", "--repair", "--json", home=copy))
    assert mended["ok"] and mended["problems"][0]["mended"]
    assert run("verify", "--photos", home=copy).exit_code == 0


@pytest.mark.parametrize(
    "command", [("search", "thunder"), ("search", "thunder", "--mode", "words", "--json"), ("status",), ("index",)]
)
def test_damage_is_one_sentence_that_says_what_to_do(copy: Home, command: tuple[str, ...]) -> None:
    overwrite(copy, 1)
    result = run(*command, home=copy)
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    sentence = json.loads(result.stdout)["error"] if "--json" in command else result.stderr.splitlines()[-1]
    assert "is damaged" in sentence and "sightline verify --repair" in sentence and sentence.endswith(".")


def test_a_page_that_breaks_in_the_midst_of_a_search_is_the_same_sentence(copy: Home) -> None:
    with closing(sqlite3.connect(copy.catalog_path)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'files'").fetchone()
    overwrite(copy, root)
    for command in (("search", "camera:3"), ("index",)):
        result = run(*command, home=copy)
        assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
        assert "sightline verify --repair" in result.stderr


def test_a_damaged_catalog_is_rebuilt_and_the_command_says_what_became_of_it(sound: Base, copy: Home) -> None:
    overwrite(copy, 1)
    found = document(run("verify", "--json", home=copy), 1)
    assert found["problems"][0]["kind"] == "catalog" and found["problems"][0]["mendable"]
    done = document(run("verify", "--repair", "--json", home=copy))
    assert done["ok"] and Path(done["kept"]).is_file() and done["saved"]["photos"] == 37 and done["lost"] == {}
    assert any(note.startswith("The damaged catalog is kept as") for note in done["notes"])
    answer = document(run("search", "--json", "-k", "100", home=copy))
    assert [hit["id"] for hit in answer["hits"]] == [hit[0] for hit in sound.answers[4]]


def test_a_fault_of_the_program_is_not_taken_for_damage(copy: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise TypeError("a fault")

    monkeypatch.setattr("search.status.status", broken)
    with pytest.raises(TypeError, match="a fault"):
        CliRunner().invoke(sightline.app, ["status", "--home", str(copy.path)], catch_exceptions=False)

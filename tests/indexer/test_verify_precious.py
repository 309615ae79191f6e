"""A repair loses nothing that a person has made: not for what they say meanwhile, and not for what it hangs on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from faults.base import OPTIONS, Base, precious_of
from repairs import ask, change, repaired

from indexer.progress import Silent
from indexer.run import run_index
from indexer.verify.libraries import root_of
from indexer.verify.run import verify
from search.catalog import editing
from search.home import Home

pytestmark = pytest.mark.usefixtures("loaded_once")

OWN = "SELECT photo_key, text FROM captions WHERE author = 'you'"


def own(home: Home) -> dict[object, str]:
    """What a person says, by the keys of photos."""
    return {key: str(text) for key, text in ask(home, OWN)}


class Meanwhile(Silent):
    """Does something once the words were looked at, when the thumbnails' turn comes."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act: Callable[[], None] | None = act

    def stage(self, name: str, total: int | None) -> None:
        if name == "thumbnails" and self._act is not None:
            act, self._act = self._act, None
            act()


def test_what_is_said_between_the_look_and_the_mending_is_kept(copy: Home) -> None:
    ids = {key: str(photo) for key, photo in ask(copy, "SELECT key, id FROM photos")}
    change(copy, "UPDATE captions SET text = replace(text, 'Grandma', 'Grundma') WHERE author = 'you'")

    def say() -> None:
        editing.put_caption(copy, ids[1], "said meanwhile")
        editing.put_caption(copy, ids[4], "")

    found = verify(copy, repair=True, progress=Meanwhile(say))
    assert found.ok
    now = own(copy)
    assert now[1] == "said meanwhile"
    assert 4 not in now
    assert "Grandma" in now[7]  # nobody has said anything else of it
    assert verify(copy).problems == []


@pytest.mark.parametrize("text", ["♥", "...!?", "🎉 🎉"])
def test_a_caption_without_letters_that_is_lost_is_put_back_from_its_words(copy: Home, text: str) -> None:
    ((photo,),) = ask(copy, "SELECT id FROM photos WHERE key = 2")
    editing.put_caption(copy, str(photo), text)
    change(copy, "DELETE FROM captions WHERE photo_key = 2 AND author = 'you'")
    repaired(copy)
    assert own(copy)[2] == text


def test_all_that_is_known_of_a_trace_of_a_photo_becomes_known_of_the_photo(copy: Home) -> None:
    ids = {key: str(photo) for key, photo in ask(copy, "SELECT key, id FROM photos")}
    ((trace,),) = ask(copy, "SELECT photo_key FROM files GROUP BY photo_key HAVING count(*) = 2")
    editing.put_caption(copy, ids[trace], "said of the old row")
    for other in (9, 30):
        editing.dismiss(copy, [ids[trace], ids[other]])
    change(
        copy,
        # The row of a photo of two files forgets whose it is, and one of them is indexed anew.
        f"UPDATE photos SET id = 'unknown' WHERE key = {trace}",
        f"INSERT INTO photos SELECT 99, '{ids[trace]}', width, height, format, bytes, taken_at, sort_at, camera, lens,"
        " latitude, longitude, kind, added_at, orphaned_at, flatness, preview, perceptual_hash FROM photos"
        f" WHERE key = {trace}",
        f"UPDATE files SET photo_key = 99 WHERE key = (SELECT max(key) FROM files WHERE photo_key = {trace})",
    )
    editing.put_caption(copy, ids[trace], "said of the new row")
    for other in (9, 10):
        editing.dismiss(copy, [ids[trace], ids[other]])
    before = own(copy)
    made = "SELECT text FROM captions WHERE author <> 'you' AND photo_key = {0} UNION ALL SELECT lines FROM texts" + (
        " WHERE photo_key = {0} UNION ALL SELECT tag FROM tags WHERE photo_key = {0}"
    )
    by_machines = ask(copy, made.format(trace))
    repaired(copy)
    assert own(copy) == {key: text for key, text in before.items() if key != trace} | {
        99: f"{before[99]} {before[trace]}"
    }
    pairs = ask(copy, "SELECT photo_key + other_key - 99 FROM dismissals WHERE 99 IN (photo_key, other_key)")
    assert {other for (other,) in pairs} == {9, 10, 30}
    assert len(by_machines) > 1 and ask(copy, made.format(99)) == by_machines
    assert ask(copy, f"SELECT count(*) FROM photos WHERE key = {trace}") == [(0,)]


def test_a_library_whose_row_is_lost_is_told_by_its_files(sound: Base, copy: Home) -> None:
    change(copy, "DELETE FROM libraries")
    found = repaired(copy)
    assert "by its files" in found.notes[0]
    assert precious_of(copy) == sound.precious
    assert ask(copy, "SELECT count(*) FROM photos WHERE orphaned_at IS NOT NULL") == [(0,)]
    assert ask(copy, "SELECT count(*) FROM files") == [(39,)]


@pytest.mark.parametrize("folder", ["/umq/elsewhere", "otmp/photos", "/"])
def test_a_damaged_folder_of_a_file_does_not_lead_a_library_astray(sound: Base, copy: Home, folder: str) -> None:
    for damage in ("UPDATE libraries SET path = x'2f66'", "DELETE FROM libraries"):
        change(copy, damage, f"UPDATE files SET folder = x'{folder.encode().hex()}' WHERE photo_key = 17")
        repaired(copy)
        assert ask(copy, "SELECT path FROM libraries") == [(os.fsencode(sound.photos),)]
        assert ask(copy, "SELECT count(*) FROM files") == [(38,)]  # the next run finds that one
        run_index(copy, [sound.photos], OPTIONS)
        assert precious_of(copy) == sound.precious


def test_the_folder_of_a_library_is_what_its_files_agree_on(tmp_path: Path) -> None:
    here = os.fsencode(tmp_path)
    for name in (b"a", b"b"):
        os.mkdir(os.path.join(here, name))
    there = {os.path.join(here, name): 3 for name in (b"a", b"b")}
    assert root_of(there) == here
    assert root_of({**there, os.path.join(os.path.dirname(here), b"gone"): 2}) == here
    assert root_of({b"/away/2019/a": 3, b"/away/2020": 1, b"/wway/2020": 1, b"away": 1}) == b"/away"
    for nothing in ({}, {b"/": 5}, {b"away": 5}, {b"/\0": 1}):
        assert root_of(nothing) is None


def test_what_is_said_of_a_photo_whose_row_is_lost_stays_said_of_it(sound: Base, copy: Home) -> None:
    change(copy, "DELETE FROM photos WHERE key IN (1, 2, 3, 4)")
    found = repaired(copy)
    assert precious_of(copy) == sound.precious and found.notes == []
    run_index(copy, [sound.photos], OPTIONS)
    assert set(ask(copy, "SELECT id FROM photos")) == {(row[1],) for row in sound.rows["photos"]}


def test_a_photo_whose_file_is_away_too_stays_unknown_while_something_is_said_of_it(
    sound: Base, copy: Home, tmp_path: Path
) -> None:
    away = os.fsencode(tmp_path / "away")
    for table, column in (("files", "folder"), ("libraries", "path")):
        change(copy, f"UPDATE {table} SET {column} = x'{away.hex()}'")
    change(copy, "DELETE FROM photos WHERE key IN (1, 6)")  # of the latter nothing is said
    found = verify(copy, repair=True)
    assert not found.ok and any("you have said something" in note for note in found.notes)
    assert own(copy)[1].startswith("what I say of it")
    assert ask(copy, "SELECT count(*) FROM photos WHERE key = 6") == [(0,)]
    (tmp_path / "away").symlink_to(sound.photos)
    repaired(copy)
    assert precious_of(copy)["captions"] == sound.precious["captions"]


def test_what_goes_of_what_a_person_made_is_named(copy: Home) -> None:
    ((one,),) = ask(copy, "SELECT photo_key FROM dismissals LIMIT 1")
    change(
        copy,
        "INSERT INTO captions VALUES (4242, 'you', 'of nothing', '2026-01-01T00:00:00+00:00')",
        f"INSERT INTO dismissals VALUES ({one}, 4242)",
    )
    found = repaired(copy)
    assert any("of nothing" in note for note in found.notes)
    assert any("photo number 4242" in note for note in found.notes)

"""A repair loses nothing that a person has made: not for what they say meanwhile, and not for what it hangs on."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest

from indexer.progress import Silent
from indexer.verify.report import Verification
from indexer.verify.run import verify
from search.catalog import editing
from search.catalog.connection import connect_to_read
from search.home import Home

pytestmark = pytest.mark.usefixtures("loaded_once")

OWN = "SELECT photo_key, text FROM captions WHERE author = 'you'"


def change(home: Home, *statements: str) -> None:
    """Change the catalog behind Sightline's back, without foreign keys, as damage does."""
    with closing(sqlite3.connect(home.catalog_path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def ask(home: Home, sql: str) -> list[tuple[object, ...]]:
    with closing(connect_to_read(home)) as connection:
        return connection.execute(sql).fetchall()


def own(home: Home) -> dict[object, str]:
    """What a person says, by the keys of photos."""
    return {key: str(text) for key, text in ask(home, OWN)}


def repaired(home: Home) -> Verification:
    """What a repair did, which leaves nothing wrong."""
    found = verify(home, repair=True)
    assert found.ok, [problem.what for problem in found.problems if not problem.mended]
    assert verify(home).problems == []
    return found


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

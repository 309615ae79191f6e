"""Words, embeddings, generations, thumbnails, the photos' own files: what is wrong with them is found, and mended."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faults.base import OPTIONS, Base, answers_of, precious_of
from repairs import change, kinds, repaired
from support import picture

from indexer.decoding.decoders import Decoders
from indexer.report import IndexOptions
from indexer.run import run_index
from indexer.salvage.rescue import Rescued, rescue
from indexer.thumbnails import Thumbnails
from indexer.verify.run import verify
from search.answer import Request
from search.catalog import editing
from search.catalog.connection import Reader, connect_to_read, connect_to_write
from search.engine import Engine
from search.home import Home
from search.vectors.generations import newest

pytestmark = pytest.mark.usefixtures("loaded_once")


def flip(path: Path, place: int, bit: int = 1) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= bit
    path.write_bytes(content)


# Words.


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE words_content SET c1 = 'a zeppelin' WHERE id = 2",
        "DELETE FROM words_content WHERE id = 2",
        "DELETE FROM parts_content WHERE id = 2",
        "INSERT INTO words (rowid, own) VALUES (4242, 'nobody')",
        "DELETE FROM words WHERE rowid = 2",
        "UPDATE words SET tags = 'zeppelin' WHERE rowid = 2",
        "UPDATE words_data SET block = x'00' WHERE id > 1000",
        "UPDATE parts_docsize SET sz = x'7f7f' WHERE id = 2",
    ],
)
def test_words_that_are_not_the_catalogs_are_written_anew(sound: Base, copy: Home, statement: str) -> None:
    change(copy, statement)
    assert "words" in kinds(verify(copy))
    assert "words" in kinds(repaired(copy))
    assert answers_of(copy) == sound.answers


def test_a_caption_that_changed_by_itself_is_put_back_from_its_words(sound: Base, copy: Home) -> None:
    with closing(connect_to_read(copy)) as connection:
        before = set(connection.execute("SELECT photo_key, author, text FROM captions"))
    change(
        copy,
        "UPDATE captions SET text = replace(text, 'Grandma', 'Grundma') WHERE author = 'you' AND photo_key < 10",
        "UPDATE captions SET text = replace(text, 'beside', 'besige') WHERE author <> 'you' AND photo_key < 5",
    )
    assert "captions" in kinds(verify(copy))
    repaired(copy)
    with closing(connect_to_read(copy)) as connection:
        assert set(connection.execute("SELECT photo_key, author, text FROM captions")) == before
    assert precious_of(copy) == sound.precious


def test_what_the_words_index_does_not_know_changes_no_caption(copy: Home) -> None:
    """A comma, or a capital: of two texts that differ in nothing else, that of the caption is kept."""
    change(copy, "UPDATE words_content SET c0 = replace(c0, 'what I say', 'What, i say') WHERE id < 10")
    assert kinds(repaired(copy)) == {"words"}
    with closing(connect_to_read(copy)) as connection:
        rows = connection.execute("SELECT text FROM captions WHERE author = 'you'").fetchall()
    assert all(text.startswith("what I say of it") for (text,) in rows)


def test_tags_that_only_changed_places_are_no_damage(copy: Home) -> None:
    """Tagged anew with the same tags a photo keeps its words, in which they stand as they stood."""
    change(
        copy,
        "DELETE FROM tags WHERE photo_key = 2",
        "INSERT INTO tags VALUES (2, 'beach', 0.9), (2, 'sea', 0.8)",
        "UPDATE words SET tags = 'sea, beach' WHERE rowid = 2",
    )
    assert verify(copy).problems == []


# Embeddings and generations.


def newest_folder(home: Home) -> Path:
    return max(home.vectors_dir.iterdir())


def test_one_bit_of_an_embedding_is_found_by_its_generation_and_mended_from_it(sound: Base, copy: Home) -> None:
    with closing(sqlite3.connect(copy.catalog_path)) as connection:
        for key, vector in connection.execute("SELECT key, vector FROM embeddings WHERE key IN (3, 9, 20)").fetchall():
            changed = bytearray(vector)
            changed[2 * int(np.abs(np.frombuffer(vector, "<f2")).argmax())] ^= 16
            connection.execute("UPDATE embeddings SET vector = ? WHERE key = ?", (bytes(changed), key))
        connection.execute("UPDATE embeddings SET vector = x'00' WHERE key = 5")
        connection.execute("UPDATE embeddings SET vector = zeroblob(length(vector)) WHERE key = 6")
        connection.execute("DELETE FROM embeddings WHERE key = 7")
        connection.commit()
    found = verify(copy)
    assert any("5 embeddings of starter are damaged" in problem.what for problem in found.problems)
    assert any("The embedding of 1 photo is missing" in problem.what for problem in found.problems)
    assert answers_of(copy)[:5] == sound.answers[:5]  # which the generation answers
    repaired(copy)
    assert answers_of(copy) == sound.answers
    assert run_index(copy, [sound.photos], OPTIONS).embedded == 0


def test_without_a_generation_a_broken_embedding_is_made_again_by_the_next_run(sound: Base, copy: Home) -> None:
    shutil.rmtree(copy.vectors_dir)
    change(copy, "DELETE FROM generations", "UPDATE embeddings SET vector = x'7e00' WHERE key = 3")
    with Engine.open(copy) as engine:  # the others are found meanwhile
        assert engine.search(Request("a violin", mode="meaning", limit=100, include_all=True)).total == 37
    assert "embeddings" in kinds(repaired(copy))
    assert run_index(copy, [sound.photos], OPTIONS).embedded == 1
    assert answers_of(copy) == sound.answers


def test_a_server_does_not_go_on_with_vectors_that_a_repair_has_replaced(sound: Base, copy: Home) -> None:
    """Published anew, a generation covers no more than the one before it."""
    shutil.rmtree(copy.vectors_dir)
    with closing(sqlite3.connect(copy.catalog_path)) as connection:
        connection.execute("DELETE FROM generations")
        connection.execute("UPDATE embeddings SET vector = zeroblob(length(vector)) WHERE key = 3")
        connection.commit()
    request = Request("a violin", mode="meaning", limit=100, include_all=True)
    with Engine.open(copy) as engine:
        assert engine.search(request).total == 37
        verify(copy, repair=True)
        run_index(copy, [sound.photos], OPTIONS)
        hits = engine.search(request).hits
        assert len({hit.id for hit in hits}) == len(hits) == 37
        with Engine.open(sound.home) as other:
            assert [hit.id for hit in hits] == [hit.id for hit in other.search(request).hits]


@pytest.mark.parametrize("name", ["index.faiss", "keys.npy"])
@pytest.mark.parametrize("damage", ["flipped", "truncated", "deleted", "of before", "of nobody"])
def test_damaged_generations_are_published_anew(sound: Base, copy: Home, name: str, damage: str) -> None:
    path = newest_folder(copy) / name
    if damage == "flipped":
        flip(path, path.stat().st_size // 2)
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "deleted":
        path.unlink()
    elif damage == "of before":
        shutil.copy(min(copy.vectors_dir.iterdir()) / name, path)
    else:
        shutil.rmtree(path.parent)
    assert kinds(verify(copy)) == {"generation"}
    repaired(copy)
    with closing(connect_to_read(copy)) as connection:
        generation = newest(connection, 1)
    assert generation is not None and generation.photos == 37 and generation.key == 3
    assert not path.parent.exists()
    assert answers_of(copy) == sound.answers


def test_a_generation_that_lacks_photos_it_should_have_is_published_anew(copy: Home) -> None:
    change(copy, "DELETE FROM generations WHERE key = 2", "UPDATE generations SET through = 37 WHERE key = 1")
    assert "generation" in kinds(verify(copy))
    repaired(copy)


def test_what_no_row_names_is_swept(copy: Home) -> None:
    (copy.vectors_dir / ".writing-abc").mkdir()
    (copy.vectors_dir / "generation-00000099").mkdir()
    (copy.path / ".restoring-catalog.db").write_bytes(b"half")
    assert kinds(verify(copy)) == {"leftovers"}
    repaired(copy)
    assert len(list(copy.vectors_dir.iterdir())) == 2 and not list(copy.path.glob(".restoring*"))


# Thumbnails and photos' files.


def test_thumbnails_that_are_damaged_strayed_or_nobodys_are_deleted(copy: Home) -> None:
    one, two, three, four = sorted(copy.thumbnails_dir.glob("*/*.webp"))[:4]
    flip(one, one.stat().st_size // 3)
    two.write_bytes(two.read_bytes()[:-1])
    (copy.thumbnails_dir / "zz").mkdir()
    strayed = Path(shutil.move(three, copy.thumbnails_dir / "zz" / three.name))
    nobodys = four.with_name(f"{four.name[:2]}{'0' * 30}-small.webp")
    shutil.copy(four, nobodys)
    given_up = four.with_name(f"{four.name[:38]}.x1.tmp")
    being_written = four.with_name(f"{four.name[:38]}.x2.tmp")
    for path in (given_up, being_written):
        path.write_bytes(b"half")
    os.utime(given_up, (1, 1))
    found = verify(copy)
    assert [problem.kind for problem in found.problems] == ["thumbnails", "leftovers"]
    assert found.problems[0].what.startswith("2 thumbnails") and found.problems[1].what.startswith("3 thumbnails")
    repaired(copy)
    left = {path.exists() for path in (one, two, strayed, nobodys, given_up)}
    assert left == {False} and four.exists() and being_written.exists()


def test_thumbnails_of_an_earlier_version_are_no_damage(sound: Base, copy: Home) -> None:
    path = sorted(copy.thumbnails_dir.glob("*/*.webp"))[0]
    path.write_bytes(path.read_bytes()[:-16])
    found = verify(copy)
    assert found.ok and found.notes == ["1 thumbnail of an earlier version will be made anew when looked at."]


@pytest.fixture
def own_photos(sound: Base, home: Home, tmp_path: Path) -> Path:
    """Photos of one's own that may be damaged, indexed in `home`."""
    folder = Path(shutil.copytree(sound.photos, tmp_path / "photos"))
    run_index(home, [folder], OPTIONS)
    return folder


def test_photos_that_decayed_are_found_where_they_are_read(home: Home, own_photos: Path) -> None:
    photo = own_photos / "late.jpg"
    times = photo.stat()
    flip(photo, photo.stat().st_size // 2)
    os.utime(photo, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert verify(home).problems == []
    for repair in (False, True):
        found = verify(home, photos=True, repair=repair)
        assert [(problem.kind, problem.mended) for problem in found.problems] == [("photo files", False)]
        assert "late.jpg" in found.problems[0].what and not found.ok
        assert found.checked["photos_read"] == 38
    photo.touch()  # the change was wanted
    assert verify(home).notes == ["1 file changed since: `sightline index` brings that up to date."]
    run_index(home)
    assert verify(home, photos=True).problems == []


def test_what_is_known_of_photos_is_held_against_their_files(home: Home, own_photos: Path) -> None:
    with closing(connect_to_read(home)) as connection:
        before = connection.execute("SELECT * FROM photos ORDER BY key").fetchall()
    change(
        home,
        "UPDATE photos SET camera = 'Cbmera 3' WHERE key = 4",
        "UPDATE photos SET height = 49 WHERE key = 5",
        "UPDATE photos SET preview = zeroblob(36) WHERE key = 6",
        "UPDATE photos SET id = '0' || substr(id, 2) WHERE key = (SELECT min(key) FROM photos WHERE id >= '1')",
    )
    assert verify(home).problems == []  # each of them could be
    assert "4 photos" in verify(home, photos=True).problems[0].what
    assert verify(home, photos=True, repair=True).ok
    with closing(connect_to_read(home)) as connection:
        assert connection.execute("SELECT * FROM photos ORDER BY key").fetchall() == before


def test_files_that_are_away_or_changed_are_no_damage(home: Home, own_photos: Path) -> None:
    (own_photos / "late.jpg").unlink()
    picture(own_photos / "harbour-0.jpg", 1000)
    found = verify(home, photos=True)
    assert found.ok
    assert found.notes == ["1 file not there and 1 file changed since: `sightline index` brings that up to date."]


# Beside others.


def test_what_a_run_at_work_is_writing_is_not_accused(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(150):
        picture(folder / f"{number}.jpg", number)
    with pytest.MonkeyPatch.context() as patch:
        # Small groups make many commits, and many generations, of which the older ones are deleted.
        patch.setattr("indexer.record.GROUP_SECONDS", 0.0)
        patch.setattr("indexer.publishing._A_LONG_RUN", 6)
        options = IndexOptions(model="starter", captions="off", batch_size=4, workers=1)
        run = threading.Thread(target=run_index, args=(home, [folder], options))
        run.start()
        while run.is_alive() and not home.vectors_dir.exists():
            time.sleep(0.002)
        checks = 0
        while run.is_alive():
            found = verify(home)
            assert found.problems == [], [problem.what for problem in found.problems]
            with closing(connect_to_read(home)) as connection:
                photo = connection.execute(
                    "SELECT id, folder, name FROM photos JOIN files ON photo_key = photos.key"
                ).fetchone()
            Thumbnails(home, Decoders.of_process(1)).get_bytes(photo[0], os.path.join(photo[1], photo[2]), "small")
            checks += 1
        run.join()
    assert checks > 1
    assert verify(home).problems == []


def test_captions_said_while_it_repairs_are_kept(sound: Base, copy: Home) -> None:
    with closing(connect_to_read(copy)) as connection:
        ids = [row[0] for row in connection.execute("SELECT id FROM photos WHERE key % 3 = 2")]
    change(copy, "DELETE FROM words")
    said = threading.Thread(target=lambda: [editing.put_caption(copy, photo, "said meanwhile") for photo in ids])
    said.start()
    verify(copy, repair=True)
    said.join()
    assert verify(copy).problems == []
    with Engine.open(copy) as engine:
        assert engine.search(Request('"said meanwhile"', limit=100)).total == len(ids)


def test_on_a_read_only_disk_it_checks_all_the_same(copy: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """There SQLite opens the catalog as one that cannot change; here any reader is made to."""
    with closing(connect_to_write(copy)) as writer:
        writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    opened = Reader.open
    monkeypatch.setattr(Reader, "open", lambda path, immutable: opened(path, immutable=True))
    found = verify(copy)
    assert found.ok and found.checked["words"] == 37


def test_a_caption_said_while_a_new_catalog_is_made_is_said_of_that(
    copy: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(connect_to_read(copy)) as connection:
        (photo,) = connection.execute("SELECT id FROM photos WHERE key = 2").fetchone()
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'levels'").fetchone()
    with closing(sqlite3.connect(copy.catalog_path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with open(copy.catalog_path, "r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(bytes(4096))
    saying = threading.Thread(target=editing.put_caption, args=(copy, photo, "said meanwhile"))

    def rescued(*arguments: Any, **options: Any) -> Rescued | None:
        saying.start()
        saying.join(0.3)
        assert saying.is_alive()  # it waits
        return rescue(*arguments, **options)

    monkeypatch.setattr("indexer.verify.rebuilding.rescue", rescued)
    assert verify(copy, repair=True).rebuilt is not None
    saying.join()
    with Engine.open(copy) as engine:
        assert engine.search(Request('"said meanwhile"')).total == 1

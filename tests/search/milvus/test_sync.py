"""Bringing a collection to what the catalog says, whatever happened to either."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from milvus_lite_server import MilvusLite, free_port
from support import active_model, entity

from indexer.verify.run import verify
from search import failpoints
from search.answer import Request
from search.catalog import changes, editing, model_records, settings, words
from search.catalog.connection import connect_to_read, connect_to_write
from search.engine import Engine
from search.errors import MilvusError, SettingsError, UnreachableError
from search.home import Home
from search.milvus import facts, home_address, schema, sync
from search.milvus.address import Address, token
from search.milvus.client import Server
from search.milvus.engine import CollectionEngine
from search.milvus.publishing import publish
from search.milvus.touched import Touched, state_of
from search.vectors import generations, stored
from search.vectors.flat import FlatIndex
from search.vectors.milvus import MilvusIndex
from search.vectors.protocol import Floats

ROOT = Path(__file__).parents[3]
PHOTOS, DIMENSIONS = 30, 16
_PUBLISH = """
import sys
from pathlib import Path
from search.catalog import model_records
from search.catalog.connection import connect_to_write
from search.home import Home
from search.milvus import home_address
from search.milvus.publishing import publish
from search.milvus.touched import Touched, state_of
home = Home(Path(sys.argv[1]))
connection = connect_to_write(home)
publish(home, connection, model_records.active(connection), home_address.remembered(connection))
"""


def unit(count: int, seed: int = 0) -> Floats:
    vectors = np.random.default_rng(seed).normal(size=(count, DIMENSIONS)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


class Library:
    """A home of some photos, and where its vectors are kept."""

    def __init__(self, home: Home, address: Address) -> None:
        self.home, self.address = home, address
        self.connection = connect_to_write(home)
        with self.connection:
            self.folder = changes.add_library(self.connection, b"/photos")
            self.model = active_model(self.connection, DIMENSIONS)
            home_address.remember(self.connection, str(address))
        self.add(unit(PHOTOS))

    def add(self, vectors: Floats, first: int = 0) -> None:
        with self.connection:
            for number, vector in enumerate(vectors, first):
                photo = changes.NewPhoto(
                    f"{number:032x}", 4, 3, "JPEG", 9, None, f"2020-01-01T00:00:{number % 60:02}", *[None] * 4
                )
                key = changes.put_photo(self.connection, photo)
                changes.put_embedding(self.connection, self.model.key, key, stored.pack(vector))
                changes.put_file(
                    self.connection,
                    library_key=self.folder,
                    folder=b"/photos",
                    name=b"%d.jpg" % number,
                    size=9,
                    mtime_ns=1,
                    photo_key=key,
                )
                words.refresh(self.connection, [key])
            settings.grow_revision(self.connection)

    def publish(self, **options: bool) -> bool:
        return publish(self.home, self.connection, self.model, self.address, **options)

    def sync(self) -> sync.Synced:
        return sync.sync(self.connection, self.model, self.address)

    @property
    def differences(self) -> tuple[int, int]:
        return sync.differences(self.connection, self.model, self.address)


@pytest.fixture
def library(home: Home, milvus: MilvusLite) -> Iterator[Library]:
    library = Library(home, milvus.address())
    yield library
    library.connection.close()


@pytest.fixture
def server(library: Library) -> Iterator[Server]:
    with Server.connect(library.address) as server:
        yield server


def test_only_what_has_changed_is_written(library: Library) -> None:
    assert library.differences == (PHOTOS, 0)
    first = library.sync()
    assert (first.written, first.deleted, first.photos) == (PHOTOS, 0, PHOTOS)
    assert not library.sync().changed and library.differences == (0, 0)
    editing.put_caption(library.home, f"{3:032x}", "my boat")
    library.add(unit(1, seed=5), first=100)
    assert library.differences == (2, 0)
    assert library.sync().written == 2
    with library.connection:
        library.connection.execute("DELETE FROM files WHERE CAST(name AS TEXT) = '7.jpg'")
        library.connection.execute("UPDATE photos SET orphaned_at = '2020' WHERE id = ?", (f"{7:032x}",))
        settings.grow_revision(library.connection)
    again = library.sync()
    assert (again.written, again.deleted, again.photos) == (0, 1, PHOTOS)


def test_a_run_that_knows_what_it_changed_looks_at_nothing_else(library: Library, server: Server) -> None:
    name = library.sync().collection
    touched = Touched(library.connection)

    def synced() -> sync.Synced:
        return sync.sync(library.connection, library.model, library.address, touched=touched)

    row = server.rows(name, "key == 2", ["*"])[0]
    del row["bm25"]
    server.call("upsert", name, [{**row, "digest": "other"}])  # which only a look at all photos would find
    library.add(unit(2, seed=5), first=100)
    with library.connection:
        library.connection.execute("DELETE FROM files WHERE photo_key = 7")
        library.connection.execute("UPDATE photos SET orphaned_at = '2020' WHERE key = 7")
        library.connection.execute("INSERT INTO tags VALUES (9, 'boat', 0.9)")
        words.refresh(library.connection, [9])
    again = synced()
    assert (again.written, again.deleted, again.photos) == (3, 1, PHOTOS + 1)
    assert not synced().changed and library.differences == (1, 0)
    noted = touched.since(state_of(library.connection))
    assert noted is not None and noted.tolist() == []
    with library.connection:
        library.connection.execute("UPDATE photos SET camera = 'new' WHERE key = 11")
        settings.grow_revision(library.connection)
    assert synced().written == 1 and library.differences == (1, 0)
    # A person's caption, committed by another process: everything is looked at.
    editing.put_caption(library.home, f"{3:032x}", "my boat")
    assert synced().written == 2 and library.differences == (0, 0)
    # And so it is where some are lost.
    server.call("delete", name, ids=[20])
    with library.connection:
        library.connection.execute("UPDATE photos SET camera = 'newer' WHERE key = 11")
        settings.grow_revision(library.connection)
    assert synced().written == 2 and library.differences == (0, 0)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE libraries SET offline = 'It is away.'",
        "INSERT INTO tag_names VALUES ('ship', 'boat')",
        "UPDATE settings SET value = 'another' WHERE name = 'words_form'",
    ],
)
def test_what_concerns_all_photos_has_all_looked_at(library: Library, statement: str) -> None:
    with library.connection:
        library.connection.execute("INSERT OR REPLACE INTO settings VALUES ('words_form', 'one')")
    touched, state = Touched(library.connection), state_of(library.connection)
    assert touched.since(state) is not None and touched.since("other") is None
    with library.connection:
        library.connection.execute("UPDATE libraries SET indexed_at = '2020'")
        library.connection.execute("UPDATE settings SET value = 'x' WHERE name = 'model'")
    found = touched.since(state)
    assert found is not None and found.tolist() == []
    with library.connection:
        library.connection.execute(statement)
    assert touched.since(state) is None


@pytest.mark.parametrize("loss", ["some", "all", "collection", "facts", "foreign"])
def test_what_is_lost_in_milvus_is_there_again_after_the_next_run(library: Library, server: Server, loss: str) -> None:
    name = library.sync().collection
    if loss in ("some", "all"):
        server.call("delete", name, filter="key > 5" if loss == "some" else "key > 0")
    elif loss == "collection":
        server.call("drop_alias", library.address.name)
        server.call("drop_collection", name)
    elif loss == "facts":
        server.call("delete", facts.COLLECTIONS, ids=[name])
    else:
        row = server.rows(name, "key == 1", ["*"])[0]
        del row["bm25"]
        server.call("upsert", name, [{**row, "key": 10**12}, {**row, "key": 9_999}])
    assert library.sync().changed
    assert library.differences == (0, 0) and server.count(name) == PHOTOS


@pytest.mark.parametrize("step", sorted({*failpoints.OF_MILVUS, "vectors committed"}))
def test_a_run_that_is_killed_is_made_good_by_the_next_one(library: Library, step: str) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", _PUBLISH, str(library.home.path)],
        cwd=ROOT,
        env={**os.environ, "SIGHTLINE_FAIL_AT": step},
        capture_output=True,
        timeout=60,
    )
    assert killed.returncode == -signal.SIGKILL
    library.publish()
    assert library.differences == (0, 0)
    assert not library.publish()
    with Engine.open(library.home) as engine:
        assert isinstance(engine._now(engine._connection()).base, MilvusIndex)
        assert len(engine.search(Request(like=(f"{3:032x}",), limit=100)).hits) == PHOTOS - 1


def test_verify_finds_what_differs_and_repairs_it(library: Library, server: Server) -> None:
    library.publish()
    assert not [one for one in verify(library.home).problems if one.kind == "collection"]
    name = facts.named(server)
    assert name is not None
    row = server.rows(name, "key == 2", ["*"])[0]
    del row["bm25"]
    server.call("upsert", name, [{**row, "digest": "other"}, {**row, "key": 5_000}])
    server.call("delete", name, ids=[4])
    found = [one for one in verify(library.home).problems if one.kind == "collection"]
    assert len(found) == 1 and "2 photos are not as the catalog says and 1 photo is not in the catalog" in found[0].what
    verify(library.home, repair=True)
    assert library.differences == (0, 0)


def test_a_server_that_is_gone_is_a_sentence_at_once_and_searches_go_on(library: Library) -> None:
    library.publish()
    nowhere = Address(f"http://127.0.0.1:{free_port()}")
    with library.connection:
        library.connection.execute(
            "UPDATE generations SET checksums = replace(checksums, ?, ?)", (str(library.address), str(nowhere))
        )
        home_address.remember(library.connection, str(nowhere))
        settings.grow_revision(library.connection)
    began = time.monotonic()
    with pytest.raises(UnreachableError, match="does not answer; start it"):
        publish(library.home, library.connection, library.model, nowhere)
    assert time.monotonic() - began < 10
    with Engine.open(library.home) as engine:
        assert len(engine.search(Request(like=(f"{3:032x}",), limit=100)).hits) == PHOTOS - 1
        assert isinstance(engine._now(engine._connection()).base, FlatIndex)
    found = [one for one in verify(library.home).problems if one.kind == "collection"]
    assert len(found) == 1 and "could not be checked" in found[0].what


def test_searches_go_on_when_the_server_is_lost_under_them(home: Home, tmp_path: Path) -> None:
    pytest.importorskip("milvus_lite")
    with MilvusLite(tmp_path / "milvus") as milvus:
        library = Library(home, milvus.address())
        with closing(library.connection), Engine.open(home) as engine:
            library.publish()
            like = Request(like=(f"{3:032x}",), limit=100)
            found = [hit.id for hit in engine.search(like).hits]
            assert isinstance(engine._now(engine._connection()).base, MilvusIndex)
            milvus.kill()
            assert [hit.id for hit in engine.search(like).hits] == found
            assert isinstance(engine._now(engine._connection()).base, FlatIndex)


def test_a_name_that_stands_for_what_others_keep_is_left_to_them(
    library: Library, server: Server, milvus: MilvusLite, tmp_path: Path
) -> None:
    library.publish()
    before = facts.named(server)
    another = Library(Home(tmp_path / "another"), library.address)
    with closing(another.connection):
        for ask in (another.publish, lambda: another.differences):
            with pytest.raises(MilvusError, match=r"what another home keeps there .*#NAME"):
                ask()
        assert facts.named(server) == before and library.differences == (0, 0)
        with another.connection:
            home_address.remember(another.connection, str(other := milvus.address()))
        assert sync.sync(another.connection, another.model, other).written == PHOTOS


def test_much_that_no_photo_is_goes_in_parts(library: Library, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    name = library.sync().collection
    rows = [entity(key, unit(1)[0]) for key in (*range(100_000, 100_020), *range(200_000, 200_010))]
    server.call("upsert", name, rows)
    with library.connection:  # the next photo's key is one between those
        library.connection.execute("UPDATE sqlite_sequence SET seq = 150000 WHERE name = 'photos'")
    library.add(unit(1, seed=5), first=100)
    monkeypatch.setattr(sync, "_RANGE", 8)
    assert library.differences == (1, 30)
    again = library.sync()
    assert (again.written, again.deleted) == (1, 30) and library.differences == (0, 0)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("UNAUTHENTICATED", "does not let this program in; set SIGHTLINE_MILVUS_TOKEN"),
        ("PERMISSION_DENIED", "does not let this program in; set SIGHTLINE_MILVUS_TOKEN"),
        ("RESOURCE_EXHAUSTED", "refuses: what the server says"),
    ],
)
def test_a_server_that_refuses_is_not_said_to_be_away(status: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_MILVUS_TOKEN", "me:hunter2")

    class Refusing(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, handler_call_details: object) -> object:
            def refuse(request: bytes, context: Any) -> None:
                context.abort(grpc.StatusCode[status], "what the server says")

            return grpc.unary_unary_rpc_method_handler(refuse)

    refusing = grpc.server(ThreadPoolExecutor(1), handlers=[Refusing()])
    port = refusing.add_insecure_port("127.0.0.1:0")
    refusing.start()
    try:
        with pytest.raises(MilvusError, match=said) as failed:
            Server.connect(Address(f"http://127.0.0.1:{port}"))
        assert not isinstance(failed.value, UnreachableError) and "hunter2" not in str(failed.value)
    finally:
        refusing.stop(None).wait()


def test_a_library_too_large_for_memory_is_not_searched_without_its_server(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.publish()
    monkeypatch.setattr(generations, "EXACT_UP_TO", PHOTOS - 1)
    with library.connection:
        library.connection.execute(
            "UPDATE generations SET checksums = replace(checksums, ?, ?)",
            (library.address.uri, f"http://127.0.0.1:{free_port()}"),
        )
    with Engine.open(library.home) as engine, pytest.raises(UnreachableError):
        engine.search(Request(like=(f"{3:032x}",)))


def test_another_model_takes_over_at_once_when_its_collection_is_complete(
    library: Library, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = library.sync().collection
    monkeypatch.setattr("search.milvus.engine._FRESH_SECONDS", 0.0)
    with CollectionEngine.open(library.address) as node:
        assert node.status()["dimensions"] == DIMENSIONS
        vectors = unit(PHOTOS, seed=9)[:, :8]
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        with library.connection:
            other = model_records.register(
                library.connection,
                name="other",
                weights="e" * 16,
                preprocessing="p",
                precision="auto",
                dimensions=8,
                logit_scale=100.0,
                logit_bias=None,
            )
            for key, vector in enumerate(vectors, 1):
                changes.put_embedding(library.connection, other.key, key, stored.pack(vector))
            model_records.activate(library.connection, other.key)
            settings.grow_revision(library.connection)
        assert node.status()["model"] == library.model.name
        publish(library.home, library.connection, other, library.address)
        assert (node.status()["model"], node.status()["dimensions"]) == ("other", 8)
        assert len(node.search(Request(like=(f"{3:032x}",), limit=100)).hits) == PHOTOS - 1
    assert server.call("has_collection", before)  # going back costs nothing
    with library.connection:
        library.connection.execute("DELETE FROM models WHERE key = ?", (library.model.key,))
        settings.grow_revision(library.connection)
    sync.sync(library.connection, other, library.address)
    assert not server.call("has_collection", before)


def test_a_library_that_has_grown_gets_a_graph(
    library: Library, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    flat = library.sync()
    monkeypatch.setattr(schema, "EXACT_UP_TO", PHOTOS // 3)
    library.add(unit(1, seed=5), first=100)
    with library.connection:
        library.connection.executemany("INSERT INTO tags VALUES (?, 'boat', 0.9)", [(5,), (9,)])
    grown = library.sync()
    assert (flat.kind, grown.kind, grown.written) == ("flat", "hnsw", PHOTOS + 1)
    assert not server.call("has_collection", flat.collection)
    assert facts.named(server) == grown.collection
    library.publish()
    with Engine.open(library.home) as engine:
        assert not engine._now(engine._connection()).base.is_exact
        server.call("flush", grown.collection, timeout=60)  # before that, milvus-lite compares them all
        with CollectionEngine.open(library.address) as node:
            for one in (engine, node):
                boats = one.search(Request("tag:boat", like=(f"{20:032x}",)))
                assert {hit.id for hit in boats.hits} == {f"{4:032x}", f"{8:032x}"}
        assert len(engine.search(Request(like=(f"{3:032x}",), limit=100)).hits) == PHOTOS


def test_photos_that_came_after_the_last_run_are_found_before_the_next_one(library: Library) -> None:
    library.publish()
    with Engine.open(library.home) as engine:
        library.add(unit(2, seed=5), first=200)
        assert len(engine.search(Request(like=(f"{3:032x}",), limit=100)).hits) == PHOTOS + 1
        # Half of a run that was cut off: the collection has them, and no generation says so.
        library.sync()
        with library.connection:
            settings.grow_revision(library.connection)
        hits = engine.search(Request(like=(f"{3:032x}",), limit=100)).hits
        assert len({hit.id for hit in hits}) == len(hits) == PHOTOS + 1


def test_a_name_that_was_given_up_keeps_no_collection_alive(library: Library, milvus: MilvusLite) -> None:
    before = library.sync().collection
    other = milvus.address()
    with library.connection:
        home_address.remember(library.connection, str(other))
    assert sync.sync(library.connection, library.model, other).collection == before
    with Server.connect(other) as server:
        assert facts.named(server) == before
        facts.forget(server, before)
        assert facts.named(server) is None and not server.call("has_collection", before)


@pytest.mark.parametrize(
    "text",
    ["qdrant:http://x", "milvus:", "milvus:ftp://x", "milvus:http://", "milvus:/x/y", "milvus:http://x#9",
     "milvus:http://x#a b", "milvus:http://h:99999999", "FAISS"],
)  # fmt: skip
def test_what_is_no_address_is_told(text: str) -> None:
    with pytest.raises(SettingsError, match=r"milvus:|No collection"):
        Address.parse(text)


def test_a_password_stands_in_no_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError) as refused:
        Address.parse("milvus:http://me:hunter2@host:19530")
    assert "hunter2" not in str(refused.value) and "SIGHTLINE_MILVUS_TOKEN" in str(refused.value)
    for text in ("milvus://me:hunter2@host", "milvus:http://me:hun#ter2@host", "http://me:hunter2@host"):
        with pytest.raises(SettingsError) as refused:
            Address.parse(text)
        assert "ter2" not in str(refused.value) and "SIGHTLINE_MILVUS_TOKEN" in str(refused.value)
    monkeypatch.setenv("SIGHTLINE_MILVUS_TOKEN", "me:hunter2")
    assert token() == "me:hunter2"
    with pytest.raises(MilvusError) as failed:
        Server.connect(Address(f"http://127.0.0.1:{free_port()}"))
    assert "hunter2" not in str(failed.value)


def test_a_package_that_is_missing_is_told_with_its_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "milvus_lite", None)
        with pytest.raises(MilvusError, match="pip install --no-deps milvus-lite"):
            Server.connect(Address(str(tmp_path / "x.db")))
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(MilvusError, match=r"pip install 'sightline\[scale\]'"):
        Server.connect(Address("http://127.0.0.1:1"))


def test_addresses_are_read() -> None:
    assert str(Address.parse("milvus:/home/me@work/lite.db")) == "milvus:/home/me@work/lite.db"
    assert Address.parse("faiss") is None
    assert str(Address.parse("milvus:https://host/")) == "milvus:https://host"
    found = Address.parse("milvus:/a/b.db#mine")
    assert found is not None and (found.uri, found.name, str(found)) == ("/a/b.db", "mine", "milvus:/a/b.db#mine")


def test_a_folder_that_another_program_has_open_is_a_sentence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("milvus_lite")
    folder = tmp_path / "lite.db"
    folder.mkdir()
    with open(folder / "LOCK", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(MilvusError, match=r"cannot be opened\. If another program"):
            Server.connect(Address(str(folder)))
    assert "Traceback" not in capfd.readouterr().err


def test_a_folder_of_milvus_lite_serves_one_home(home: Home, tmp_path: Path) -> None:
    pytest.importorskip("milvus_lite")
    library = Library(home, Address(str(tmp_path / "lite.db")))
    with closing(library.connection):
        assert library.publish() and not library.publish()
        with Engine.open(home) as engine:
            assert isinstance(engine._now(engine._connection()).base, MilvusIndex)
            assert len(engine.search(Request(like=(f"{3:032x}",), limit=100)).hits) == PHOTOS - 1
    with closing(connect_to_read(home)) as connection:
        found = generations.newest(connection, library.model.key)
        assert found is not None and generations.is_remote(found) and generations.is_exact(found)

"""Libraries in an object storage, over fsspec's file system in memory: what is listed, read, missed and refused."""

from __future__ import annotations

import io
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image

from indexer.progress import Silent
from indexer.report import IndexOptions, IndexReport
from indexer.run import run_index
from indexer.storage import addresses, remote, storage_of
from indexer.storage.local import LOCAL
from indexer.verify.run import verify
from indexer.watch import Follower
from search.answer import Request
from search.catalog import failures
from search.catalog.connection import connect_to_read, connect_to_write
from search.catalog.editing import put_caption
from search.catalog.paths import common, is_remote, is_within, join
from search.engine import Engine
from search.errors import SightlineError
from search.home import Home
from search.status import status

pytestmark = pytest.mark.usefixtures("loaded_once")
STARTER = IndexOptions(model="starter", captions="off", download=False)
ROOT = "memory://photos/2024"


def jpeg(seed: int) -> bytes:
    colours = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(colours).resize((64, 48), Image.Resampling.BICUBIC).save(content, "JPEG")
    return content.getvalue()


class Bucket:
    """Objects in memory; counts what is asked of them, and may be away."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.system: Any = fsspec.filesystem("memory")
        self.read: list[str] = []
        self.away: Exception | None = None
        for name in ("ls", "info", "cat_file"):
            patch.setattr(MemoryFileSystem, name, self._watched(name, getattr(MemoryFileSystem, name)))

    def _watched(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def watched(system: Any, path: str, *arguments: Any, **options: Any) -> Any:
            if self.away is not None:
                raise self.away
            if name == "cat_file":
                self.read.append(path)
            return method(system, path, *arguments, **options)

        return watched

    def put(self, name: str, content: bytes) -> None:
        self.system.pipe(f"/photos/2024/{name}", content)

    def remove(self, name: str) -> None:
        del self.system.store[f"/photos/2024/{name}"]

    def move(self, name: str, to: str) -> None:
        self.system.store[f"/photos/2024/{to}"] = self.system.store.pop(f"/photos/2024/{name}")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """Eight photos, three of them in a folder."""
    remote._health.clear()
    bucket = Bucket(monkeypatch)
    monkeypatch.setattr(MemoryFileSystem, "store", {})
    monkeypatch.setattr(MemoryFileSystem, "pseudo_dirs", [""])
    # Objects of a test are as young as what was written just now, which the next run would look at again.
    monkeypatch.setattr("indexer.scan._GRAINS", ((1, 0),))
    for number in range(8):
        bucket.put(f"{number}.jpg" if number < 5 else f"inner/{number}.jpg", jpeg(number))
    yield bucket
    remote._health.clear()


def counts(report: IndexReport) -> dict[str, int]:
    return {name: value for name, value in report.counts().items() if value and name != "tagged"}


def found(home: Home, query: str = "") -> set[str]:
    with Engine.open(home) as engine:
        return {hit.path for hit in engine.search(Request(query, limit=100)).hits}


def test_a_library_of_objects_is_indexed_and_followed_like_a_folder(home: Home, bucket: Bucket) -> None:
    assert counts(run_index(home, [ROOT + "/"], STARTER)) == {"added": 8, "embedded": 8}
    assert found(home) == {
        f"{ROOT}/{number}.jpg" if number < 5 else f"{ROOT}/inner/{number}.jpg" for number in range(8)
    }
    bucket.read.clear()
    assert counts(run_index(home)) == {"unchanged": 8} and bucket.read == []

    bucket.put("new.jpg", jpeg(20))
    bucket.put("0.jpg", jpeg(21))
    bucket.move("1.jpg", "inner/one.jpg")
    bucket.remove("2.jpg")
    bucket.put("copy.jpg", jpeg(3))
    report = run_index(home)
    assert counts(report) == {"added": 2, "updated": 1, "moved": 1, "removed": 1, "unchanged": 5, "embedded": 2}
    assert f"{ROOT}/inner/one.jpg" in found(home) and f"{ROOT}/2.jpg" not in found(home)
    assert verify(home).ok and verify(home, photos=True).ok


def test_photos_are_filtered_by_their_folders(home: Home, bucket: Bucket) -> None:
    run_index(home, [ROOT], STARTER)
    inner = {f"{ROOT}/inner/{number}.jpg" for number in (5, 6, 7)}
    assert found(home, "folder:inner") == inner
    assert found(home, f"folder:{ROOT}/inner/") == inner
    assert len(found(home, f"folder:{ROOT}/")) == 8 and found(home, "folder:memory://photos/20/") == set()


def test_rules_hold_and_only_ignore_files_that_there_are_are_read(home: Home, bucket: Bucket) -> None:
    bucket.put(".sightlineignore", b"3.jpg\n")
    bucket.put("inner/.sightlineignore", b"6.jpg\n")
    bucket.put(".hidden/9.jpg", jpeg(9))
    bucket.put("@eaDir/10.jpg", jpeg(10))
    bucket.put("tiny.jpg", b"x")
    bucket.put("notes.txt", b"no photo")
    options = IndexOptions(model="starter", captions="off", download=False, exclude=("4.jpg",), min_bytes=50)
    run_index(home, [ROOT], options)
    assert {path.rpartition("/")[2] for path in found(home)} == {"0.jpg", "1.jpg", "2.jpg", "5.jpg", "7.jpg"}
    bucket.put(".sightlineignore", b"inner/\n")
    report = run_index(home)
    assert report.removed == 2 and report.missing == 0
    assert {path.rpartition("/")[2] for path in found(home)} == {"0.jpg", "1.jpg", "2.jpg", "3.jpg"}


@pytest.mark.parametrize("error", [OSError(111, "no answer"), RuntimeError("Unable to locate credentials")])
def test_a_storage_that_is_away_is_no_deletion(home: Home, bucket: Bucket, error: Exception) -> None:
    run_index(home, [ROOT], STARTER)
    bucket.away = error
    report = run_index(home)
    assert counts(report) == {} and len(report.waits) == 1 and str(error.args[-1]).lower() in report.waits[0]
    assert len(found(home)) == 8
    with closing(connect_to_read(home)) as connection:
        assert status(home, connection)["libraries"][0]["offline"]
    bucket.away = None
    remote._health.clear()
    assert counts(run_index(home)) == {"unchanged": 8}


def test_a_bucket_that_is_emptied_waits_for_a_word(home: Home, bucket: Bucket) -> None:
    run_index(home, [ROOT], STARTER)
    bucket.system.store.clear()
    report = run_index(home)
    assert report.removed == 0 and len(found(home)) == 8 and "--confirm-removals" in report.waits[0]
    report = run_index(home, [ROOT], IndexOptions(confirm_removals=True))
    assert report.removed == 8 and found(home) == set()


def test_what_cannot_be_read_in_the_midst_is_tried_again(home: Home, bucket: Bucket, monkeypatch: Any) -> None:
    cat = MemoryFileSystem.cat_file

    def flaky(system: Any, path: str, *arguments: Any, **options: Any) -> Any:
        if path.endswith("/6.jpg"):
            raise RuntimeError("the connection was reset")
        return cat(system, path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "cat_file", flaky)
        assert counts(run_index(home, [ROOT], STARTER)) == {"added": 7, "embedded": 7, "failed": 1}
    with closing(connect_to_read(home)) as connection:
        (failed,) = failures.page(connection)
    assert failed["path"] == f"{ROOT}/inner/6.jpg" and "the connection was reset" in failed["reason"]
    assert counts(run_index(home)) == {"added": 1, "embedded": 1, "unchanged": 7}


def test_a_storage_that_does_not_answer_for_a_while_costs_few_photos(
    home: Home, bucket: Bucket, monkeypatch: Any
) -> None:
    for number in range(100, 200):
        bucket.put(f"{number}.jpg", jpeg(number))
    monkeypatch.setattr(remote, "_REST", 0.2)
    info = MemoryFileSystem.info
    asked = itertools.count()

    def away_for_a_while(system: Any, path: str, *arguments: Any, **options: Any) -> Any:
        if path.endswith(".jpg") and 100 < next(asked) < 105:
            raise RuntimeError("slow down")
        return info(system, path, *arguments, **options)

    monkeypatch.setattr(MemoryFileSystem, "info", away_for_a_while)
    report = run_index(home, [ROOT], STARTER)
    assert report.failed <= 4 and report.added + report.failed == 108


def test_an_object_that_is_written_while_it_is_read_is_left_to_the_next_run(
    home: Home, bucket: Bucket, monkeypatch: Any
) -> None:
    cat = MemoryFileSystem.cat_file

    def overwritten(system: Any, path: str, *arguments: Any, **options: Any) -> Any:
        content = cat(system, path, *arguments, **options)
        if path.endswith("/0.jpg"):
            bucket.put("0.jpg", jpeg(0)[:-1] + b"\xd9")
        return content

    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "cat_file", overwritten)
        assert counts(run_index(home, [ROOT], STARTER)) == {"added": 7, "embedded": 7}
    assert counts(run_index(home)) == {"added": 1, "embedded": 1, "unchanged": 7}


def test_hostile_names_lead_nowhere_and_odd_ones_are_photos(home: Home, bucket: Bucket) -> None:
    for name in ("../outside.jpg", "a//b.jpg", "./c.jpg", "nul\0.jpg", "folder.jpg/"):
        bucket.system.store[f"/photos/2024/{name}"] = bucket.system.store["/photos/2024/0.jpg"]
    odd = ["new\nline.jpg", "?version=1#x.jpg", "100%25.jpg", "ünïcödé \U0001f600.jpg", "-rf.jpg", "back\\slash.jpg"]
    for number, name in enumerate(odd):
        bucket.put(name, jpeg(50 + number))
    report = run_index(home, [ROOT], STARTER)
    assert report.failed == 0 and report.added == 8 + len(odd)
    assert {f"{ROOT}/{name}" for name in odd} < found(home)
    assert counts(run_index(home)) == {"unchanged": 8 + len(odd)}


def test_a_library_that_is_lost_from_the_catalog_comes_back_by_its_files(home: Home, bucket: Bucket) -> None:
    run_index(home, [ROOT], STARTER)
    with closing(connect_to_write(home)) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("DELETE FROM libraries")
        connection.commit()
    assert verify(home, repair=True).ok
    with closing(connect_to_read(home)) as connection:
        assert [row[0] for row in connection.execute("SELECT path FROM libraries")] == [ROOT.encode()]
    assert counts(run_index(home)) == {"unchanged": 8}


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("s3://key:secret@bucket/x", "holds a password"),
        ("s3://key:with/slash/secret@bucket/x", "holds a password"),
        ("generic://bucket", "cannot hold a library"),
        ("s3://", "is no address"),
        ("s3:///x", "is no address"),
        ("s3://bucket/a/../b", "without an empty one"),
        ("s3://bucket//b", "without an empty one"),
        ("simplecache::s3://bucket", "does not exist"),
        ("file:///photos", "is no address"),
        ("file://x/photos", "name the folder itself"),
        ("nonsense://bucket", "no protocol that is known"),
    ],
)
def test_an_address_that_cannot_be_is_refused_in_a_sentence(home: Home, address: str, said: str) -> None:
    with pytest.raises(SightlineError, match=said) as refused:
        run_index(home, [address], STARTER)
    assert "secret" not in str(refused.value) and not home.path.exists()


@pytest.mark.parametrize(
    ("error", "said"), [(RuntimeError("Unable to locate credentials"), "credentials"), (None, "There is nothing at")]
)
def test_what_is_not_there_does_not_become_a_library(
    home: Home, bucket: Bucket, error: Exception | None, said: str
) -> None:
    bucket.away = error
    with pytest.raises(SightlineError, match=said):
        run_index(home, ["memory://photos/2025"], STARTER)
    assert not home.path.exists()


def test_an_object_is_no_library(home: Home, bucket: Bucket) -> None:
    with pytest.raises(SightlineError, match="is an object; name the folder"):
        run_index(home, [f"{ROOT}/0.jpg"], STARTER)
    assert not home.path.exists()


def test_nobody_listens_to_an_object_storage_which_is_looked_through_instead(home: Home, bucket: Bucket) -> None:
    run_index(home, [ROOT], STARTER)
    reports: list[IndexReport] = []

    def reported(report: IndexReport) -> None:
        reports.append(report)
        if len(reports) == 1:
            bucket.put("new.jpg", jpeg(70))
        else:
            follower.stop()

    follower = Follower(home, IndexOptions(download=False), Silent(), every=0.05, reported=reported)
    follower.run()
    assert [counts(report) for report in reports[:2]] == [{"unchanged": 8}, {"added": 1, "embedded": 1, "unchanged": 8}]


def test_a_photo_is_captioned_by_its_address(home: Home, bucket: Bucket) -> None:
    run_index(home, [ROOT], STARTER)
    photo = put_caption(home, f"{ROOT}/inner/5.jpg", "the harbour at dawn")
    assert found(home, '"harbour at dawn"') == {f"{ROOT}/inner/5.jpg"} and photo.path == f"{ROOT}/inner/5.jpg"


def test_what_is_not_installed_is_said(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    addresses.system_of.cache_clear()
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)  # type: ignore[attr-defined]
    with pytest.raises(SightlineError, match=r"pip install 'sightline\[scale\]'"):
        run_index(home, ["s3://bucket"], STARTER)
    addresses.system_of.cache_clear()


def test_etags_tell_objects_of_one_second_apart() -> None:
    one = {"size": 3, "type": "file", "LastModified": "2024-05-01T10:00:00+00:00", "ETag": '"a"'}
    listed, read = remote._status(one), remote._status({**one, "LastModified": "2024-05-01T10:00:00.250+00:00"})
    other = remote._status({**one, "ETag": '"b"'})
    assert listed.st_mtime_ns == read.st_mtime_ns != other.st_mtime_ns
    assert {status.st_mtime_ns // 10**9 for status in (listed, other)} == {1714557600}


def test_what_a_library_says_is_told_without_secrets(home: Home, bucket: Bucket) -> None:
    run_index(home, [ROOT], STARTER)
    bucket.away = RuntimeError('no answer: "https://me:pass@host/b/x.jpg?sv=1&sig=secret" for sftp://you:word@h/x')
    (sentence,) = run_index(home).waits
    assert '(no answer: "https://host/b/x.jpg" for sftp://h/x)' in sentence


def test_a_folder_that_was_renamed_is_not_embedded_again(home: Home, bucket: Bucket) -> None:
    run_index(home, [ROOT], STARTER)
    for name in list(bucket.system.store):
        bucket.system.store[name.replace("/2024/", "/renamed/")] = bucket.system.store.pop(name)
    report = run_index(home, ["memory://photos/renamed"])
    assert report.embedded == 0 and report.added + report.moved == 8
    run_index(home, [ROOT], IndexOptions(confirm_removals=True))
    assert {path.split("/")[3] for path in found(home)} == {"renamed"} and len(found(home)) == 8


def test_paths_of_both_kinds_are_told_apart() -> None:
    assert is_remote(b"s3://b/x") and not is_remote(b"/s3://b") and not is_remote(b"C:/x")
    assert storage_of(b"/s3://b") is LOCAL and storage_of(b"s3://b") is remote.REMOTE
    assert join(b"s3://b", b"x") == b"s3://b/x" and join(b"s3://b/x", b"") == b"s3://b/x/"
    assert is_within(b"s3://b/x/y", b"s3://b/x") and not is_within(b"s3://b/xy", b"s3://b/x")
    assert common([b"s3://b/x/y", b"s3://b/x/z"]) == b"s3://b/x" and common([b"s3://b/x", b"s3://c/x"]) is None
    assert common([os.fsencode("/a/b"), os.fsencode("/a/c")]) == os.fsencode("/a")

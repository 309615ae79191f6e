"""What an executor of a cluster is made of, piece by piece, and what is said where there is no cluster."""

from __future__ import annotations

import os
import socket
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from support import picture

pytest.importorskip("ray")

from indexer.executors import ray as ray_executor
from indexer.executors.addresses import probe
from indexer.executors.messages import Answer, Task, is_among, packed_ids
from indexer.executors.ray_driver import Pool
from indexer.executors.ray_worker import EmbedFiles
from indexer.executors.shards import answer_of, answer_table, files_of, files_table
from indexer.pipeline import ReadFile
from indexer.report import IndexOptions, IndexReport
from indexer.run import run_index
from indexer.scan import FAILED_FOR_NOW, FoundFile
from search.catalog.changes import Look, NewPhoto
from search.errors import ExecutorError
from search.home import Home

FOUND = FoundFile(b"/photos/\xff odd", b"a\nb.jpg", 2**40, -1, 7)
PHOTO = NewPhoto("0" * 32, 3, 2, "JPEG", 5, None, "2020", "Leica", None, 1.5, -2.25, 0.125, Look(bytes(36), 2**63 - 1))


def test_files_and_what_came_of_them_survive_the_journey() -> None:
    found = {3: FOUND, 9: FoundFile(b"/", b"x", 0, 0)}
    assert files_of(files_table([3, 9], found)) == found
    read = [
        ReadFile(found[3], "0" * 32, 5, 6, PHOTO),
        ReadFile(found[9], "", 0, FAILED_FOR_NOW, failure="it is broken: “\u3042”"),
    ]
    vectors = np.asarray([[0.5, -1.0]], np.float32)
    left = dict(found)
    answer = answer_of(answer_table("node", [3, 9], read, vectors), left)
    assert answer.files == read and answer.vectors.tolist() == vectors.tolist() and left == {}


def test_an_answer_that_comes_twice_is_taken_once() -> None:
    left = {1: FOUND, 2: FOUND}
    table = answer_table("node", [1], [ReadFile(FOUND, "0" * 32, 5, 6, PHOTO)], np.ones((1, 2), np.float32))
    assert len(answer_of(table, left).files) == 1 and left.keys() == {2}
    again = answer_of(table, left)
    assert again.files == [] and len(again.vectors) == 0


def test_ids_are_found_among_many_and_others_are_not() -> None:
    dice = np.random.default_rng(0)
    ids = [dice.bytes(16).hex() for _ in range(1000)]
    near = ids[0][:16] + "0" * 16  # the first half is one's, the second nobody's
    packed = packed_ids([*ids, "no id"])
    assert packed.nbytes == 16_000
    assert all(is_among(packed, one) for one in ids)
    assert not is_among(packed, near) and not is_among(packed_ids([]), ids[0])


@pytest.mark.parametrize(
    ("nodes", "workers", "device", "expected"),
    [
        ([(2, 0)], None, "auto", Pool(2, 1, 0)),
        ([(1, 0), (1, 0)], None, "auto", Pool(2, 1, 0)),
        ([(16, 0), (8, 0)], None, "auto", Pool(6, 4, 0)),
        ([(0, 0), (64, 8)], None, "auto", Pool(8, 8, 1)),
        ([(0, 0), (64, 8)], None, "cpu", Pool(16, 4, 0)),
        ([(4, 0)], 4, "auto", Pool(4, 1, 0)),
        ([(0, 0)], None, "auto", Pool(1, 1, 0)),
    ],
)
def test_workers_suit_the_machines(
    nodes: list[tuple[int, float]], workers: int | None, device: str, expected: Pool
) -> None:
    assert Pool.suiting(nodes, workers, device) == expected
    assert expected.fits(nodes) == (nodes != [(0, 0)])


def test_a_gpu_that_no_machine_has_is_said() -> None:
    with pytest.raises(ExecutorError, match="has a GPU"):
        Pool.suiting([(4, 0)], None, "cuda")


@pytest.mark.parametrize("address", ["ray://somewhere:10001", "nonsense", "host:port"])
def test_an_address_that_cannot_be_is_said(address: str) -> None:
    with pytest.raises(ExecutorError, match="HOST"):
        probe(address)


def test_where_nobody_listens_a_run_ends_at_once(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{closed.getsockname()[1]}")
        began = time.monotonic()
        with pytest.raises(ExecutorError, match="No Ray cluster answers at 127"):
            run_index(home, [tmp_path], IndexOptions(executor="ray"))
        assert time.monotonic() - began < 5 and not home.path.exists()


def test_without_ray_the_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_executor, "find_spec", lambda name: None)
    with pytest.raises(ExecutorError, match=r"pip install 'sightline\[scale\]'"):
        ray_executor.check()


def test_a_worker_with_another_model_says_so(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg", 1)
    files = {0: FoundFile(os.fsencode(tmp_path), b"a.jpg", 1, 1)}
    task = Task("starter", "auto", "cpu", False, None, "0" * 16, "0" * 16, {})
    answer = EmbedFiles(task, None)(files_table([0], files))  # type: ignore[arg-type]
    with pytest.raises(ExecutorError, match=r"A worker on .* cannot embed photos: starter is another model there"):
        answer_of(answer, files)


def test_a_fault_of_the_program_in_a_worker_keeps_its_traceback() -> None:
    answer = EmbedFiles(None, None)(files_table([0], {0: FOUND}))  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="Traceback"):
        answer_of(answer, {0: FOUND})


def test_what_a_worker_alone_cannot_read_is_not_recorded(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"here")
    status = os.stat(tmp_path / "a.jpg")
    here = FoundFile(os.fsencode(tmp_path), b"a.jpg", status.st_size, status.st_mtime_ns)
    gone = FoundFile(os.fsencode(tmp_path), b"gone.jpg", 4, 0)
    answers = [
        ReadFile(here, left_alone=True),
        ReadFile(here, "", 4, FAILED_FOR_NOW, failure="it cannot be read: permission denied"),
        ReadFile(here, "", 4, FAILED_FOR_NOW, failure="there is not enough memory"),
        ReadFile(gone, left_alone=True),
    ]
    files, unread = ray_executor.without_unread(Answer("node", answers, np.empty((0, 0), np.float16)))
    assert unread == 2 and [file.left_alone for file in files] == [True, True, False, True]
    assert files[2:] == answers[2:]


def test_a_machine_that_sees_nothing_ends_the_run_and_one_that_has_seen_files_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jpg").write_bytes(b"here")
    status = os.stat(tmp_path / "a.jpg")
    here = FoundFile(os.fsencode(tmp_path), b"a.jpg", status.st_size, status.st_mtime_ns)
    nothing = np.empty((0, 1), np.float16)
    unread = Answer("node", [ReadFile(here, "", 4, FAILED_FOR_NOW, failure="it cannot be read: no answer")], nothing)
    read = Answer("node", [ReadFile(here, "0" * 32, 4, status.st_mtime_ns)], nothing)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with closing(ray_executor.RayExecutor(IndexOptions(executor="ray"), "auto", lambda sentence: None)) as executor:
        with pytest.raises(ExecutorError, match="The Ray worker on node cannot read"):
            executor._group(unread)
        executor._group(read)
        files, _ = executor._group(unread)
    assert [file.left_alone for file in files] == [True]


def test_a_cluster_of_ones_own_is_what_ray_calls_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "local")
    ray_executor.check()
    assert ray_executor._address() is None


def test_the_cluster_is_only_asked_where_something_is_to_be_embedded(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    picture(tmp_path / "a.jpg", 1)
    run_index(home, [tmp_path], IndexOptions(model="starter", captions="off", download=False))
    monkeypatch.setattr(ray_executor, "RayExecutor", None)
    report: IndexReport = run_index(home, [], IndexOptions(executor="ray"))
    assert report.unchanged == 1

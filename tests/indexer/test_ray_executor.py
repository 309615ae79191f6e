"""Photos embedded by workers of a Ray cluster, some of which die: the index is the one that this machine would make."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from support import picture

from indexer.executors.ray import RayExecutor
from indexer.progress import Preempted, Silent
from indexer.report import IndexOptions
from indexer.run import run_index
from indexer.storage.addresses import system_of
from indexer.verify.run import verify
from search.catalog import model_records
from search.catalog.connection import connect_to_read
from search.home import Home
from search.vectors import stored

pytest.importorskip("ray")
pytest.importorskip("s3fs")

ROOT = Path(__file__).parents[2]
PHOTOS = 64
OBJECTS = 8
# How soon a machine that does not answer counts as gone; one that is just starting may take its time.
HASTY = {"health_check_initial_delay_ms": 15_000, "health_check_period_ms": 1_000, "health_check_failure_threshold": 5}
STARTS = 3
"""Ray gives a machine half a minute to start, which it may need where others are at work."""
LOCAL = IndexOptions(model="starter", captions="off", download=False)
RAY = IndexOptions(model="starter", captions="off", download=False, executor="ray")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small photos, one of them twice, and one that is broken."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(PHOTOS):
        picture(folder / f"{number}.jpg", number)
    picture(folder / "copy.jpg", 0)
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A library in S3, whose credentials are in the environment."""
    from botocore.session import get_session
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "of-a-test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        system_of.cache_clear()
        client = get_session().create_client("s3")
        client.create_bucket(Bucket="photos")
        file = tmp_path_factory.mktemp("objects") / "photo.jpg"
        for number in range(OBJECTS):
            picture(file, 500 + number)
            client.put_object(Bucket="photos", Key=f"2024/object {number}.jpg", Body=file.read_bytes())
        yield "s3://photos/2024"
        server.stop()
    system_of.cache_clear()


@pytest.fixture(scope="module")
def expected(photos: Path, objects: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What this machine makes of the photos."""
    home = Home(tmp_path_factory.mktemp("local") / "home")
    run_index(home, [photos, objects], LOCAL)
    return content(home)


class Workplace:
    """A cluster of two machines with a core each, and one without, for the driver."""

    def __init__(self, folder: str) -> None:
        from ray.cluster_utils import Cluster

        self._own = {"include_dashboard": False, "object_store_memory": 80 * 2**20}
        head = {"num_cpus": 0, "temp_dir": folder, "_system_config": HASTY}
        self.cluster = _started(lambda: Cluster(initialize_head=True, head_node_args={**self._own, **head}))
        self.machines = [_started(lambda: self.cluster.add_node(num_cpus=1, **self._own)) for _ in range(2)]

    def workers_at_work(self, machine: Any = None) -> list[psutil.Process]:
        """Processes that have photos decoded now, of all machines or of one."""
        root = psutil.Process(None if machine is None else machine.all_processes["raylet"][0].process.pid)
        return [one for one in root.children(recursive=True) if _is_at_work(one)]


def _started(start: Callable[[], Any]) -> Any:
    for number in range(STARTS):
        try:
            return start()
        except Exception:
            if number == STARTS - 1:
                raise
    return None


def _is_at_work(process: psutil.Process) -> bool:
    try:
        return "EmbedFiles" in " ".join(process.cmdline()) and bool(process.children())
    except psutil.Error:
        return False


@pytest.fixture(scope="module")
def workplace(objects: str) -> Iterator[Workplace]:
    """Its machines have the credentials of `objects`."""
    # A short path: sockets lie below it.
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory(prefix="sightline-", dir="/tmp", ignore_cleanup_errors=True) as folder,
    ):
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Ray notes there which cluster is the last one, and does not make the folder that it does so in.
        patch.setenv("RAY_TMPDIR", folder)
        os.mkdir(os.path.join(folder, "ray"))
        place = Workplace(os.path.join(folder, "ray"))
        patch.setenv("RAY_ADDRESS", place.cluster.address)
        yield place
        place.cluster.shutdown()


def content(home: Home) -> dict[str, Any]:
    """Paths with the photos that they hold, photos with their embeddings, and failures."""
    with closing(connect_to_read(home)) as connection:
        model = model_records.active(connection)
        assert model is not None
        rows = connection.execute(
            "SELECT name, id, failure, photos.key FROM files LEFT JOIN photos ON photos.key = photo_key"
        ).fetchall()
        keys, vectors, _ = stored.load(connection, model.key, model.dimensions)
        identities = dict(connection.execute("SELECT key, id FROM photos"))
        kept = connection.execute("SELECT id, width, height, format, bytes, preview FROM photos").fetchall()
    assert len(set(keys.tolist())) == len(keys) == len(identities)
    return {
        "files": {name: (identity, failure) for name, identity, failure, _ in rows},
        "photos": set(kept),
        "embeddings": {identities[key]: vector for key, vector in zip(keys.tolist(), vectors, strict=True)},
    }


def assert_same(home: Home, expected: dict[str, Any]) -> None:
    found = content(home)
    assert found["files"] == expected["files"] and found["photos"] == expected["photos"]
    assert found["embeddings"].keys() == expected["embeddings"].keys()
    for identity, vector in found["embeddings"].items():
        assert np.dot(vector, expected["embeddings"][identity]) > 0.999
    assert verify(home).ok


class Meanwhile(Silent):
    """Does something once the stage `embed` has begun."""

    def __init__(self, act: Callable[[], bool]) -> None:
        self.acted = False
        self._act = act
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._try)

    def stage(self, name: str, total: int | None) -> None:
        if name == "embed":
            self._thread.start()

    def __enter__(self) -> Meanwhile:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _try(self) -> None:
        while not self.acted and not self._ended.wait(0.002):
            self.acted = self._act()


def test_a_worker_that_is_killed_at_work_costs_nothing(
    home: Home, photos: Path, objects: str, expected: dict[str, Any], workplace: Workplace
) -> None:
    killed = []

    def kill() -> bool:
        for worker in workplace.workers_at_work()[:1]:
            worker.kill()
            killed.append(worker.pid)
        return bool(killed)

    with Meanwhile(kill) as progress:
        report = run_index(home, [photos, objects], RAY, progress)
    assert len(killed) == 1 and not psutil.pid_exists(killed[0])
    assert (report.embedded, report.failed, report.waits) == (PHOTOS + OBJECTS, 1, [])
    assert report.added == PHOTOS + OBJECTS + 1
    assert_same(home, expected)
    again = run_index(home, [], RAY)
    assert (again.unchanged, again.embedded, again.failed) == (PHOTOS + OBJECTS + 1, 0, 1)


def test_what_a_dead_driver_left_is_done_though_a_machine_goes(home: Home, photos: Path, workplace: Workplace) -> None:
    command = [sys.executable, "-m", "sightline", "index", str(photos), "--home", str(home.path), "--executor", "ray"]
    environment = {**os.environ, "SIGHTLINE_FAIL_AT": "group committed:1:kill"}
    died = subprocess.run(
        [*command, "--model", "starter", "--captions", "off"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        timeout=120,
    )
    assert died.returncode == -signal.SIGKILL
    done = len(content(home)["embeddings"])
    assert 0 < done <= PHOTOS

    for number in range(PHOTOS, PHOTOS + 40):  # whatever it had done, there is work for two
        picture(photos / f"{number}.jpg", number)
    gone = []

    def remove() -> bool:
        for machine in workplace.machines:
            if not gone and workplace.workers_at_work(machine):
                workplace.cluster.remove_node(machine, allow_graceful=False)
                gone.append(machine)
        return bool(gone)

    try:
        with Meanwhile(remove) as progress:
            report = run_index(home, [], RAY, progress)
        assert gone and report.waits == [] and done + report.embedded == PHOTOS + 40
        reference = Home(home.path.with_name("reference"))
        run_index(reference, [photos], LOCAL)
        assert_same(home, content(reference))
    finally:
        for number in range(PHOTOS, PHOTOS + 40):
            (photos / f"{number}.jpg").unlink()


class Urgent(Silent):
    """Something more urgent is there as soon as workers are asked."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self._stage = ""

    def stage(self, name: str, total: int | None) -> None:
        self._stage = name

    def advance(self, done: int, failed: int) -> None:
        if self._stage == "embed":
            raise Preempted("Something is urgent.")

    def say(self, sentence: str) -> None:
        self.heard.append(sentence)


def test_a_run_that_must_make_way_leaves_the_cluster_at_once(home: Home, photos: Path, workplace: Workplace) -> None:
    report = run_index(home, [photos], RAY, Urgent())
    assert report.preempted and report.embedded < PHOTOS
    assert not [one for one in psutil.Process().children() if "ray_driver" in " ".join(one.cmdline())]


@pytest.mark.parametrize("killed", [False, True], ids=["left while it starts", "whose driver is killed"])
def test_nothing_is_left_of_a_cluster_of_this_machine(killed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    said: list[str] = []
    with closing(RayExecutor(RAY, "auto", said.append)) as executor:
        driver = psutil.Process(executor._process.pid)
        while not (said if killed else driver.children()):
            executor._hear()
        started = driver.children(recursive=True)
        if killed:
            driver.kill()
    assert started and psutil.wait_procs(started, 60)[1] == []
    assert executor._folder is not None and not os.path.exists(executor._folder)


def test_few_files_of_a_watch_are_embedded_here(home: Home, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    run_index(home, [photos], LOCAL)
    picture(photos / "late.jpg", 999)
    try:
        report = run_index(home, [], RAY, places=[os.fsencode(photos / "late.jpg")])
    finally:
        (photos / "late.jpg").unlink()
    assert report.embedded == 1

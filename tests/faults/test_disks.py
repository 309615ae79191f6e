"""Homes on disks that are full, read-only, or another machine's too; clocks that are wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support import picture
from victims import Nursery

from indexer.report import IndexOptions
from indexer.run import run_index
from search import machine
from search.catalog.connection import connect_to_read, editing
from search.engine import Engine, Request
from search.errors import CatalogError, SightlineError
from search.home import Home

pytestmark = pytest.mark.usefixtures("loaded_once")

OPTIONS = IndexOptions(model="starter", captions="off")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("disks") / "photos"
    folder.mkdir()
    for number in range(20):
        picture(folder / f"{number}.jpg", number)
    return folder


@pytest.fixture(scope="module")
def indexed(photos: Path) -> Path:
    run_index(Home(photos.parent / "home"), [photos], OPTIONS)
    return photos.parent / "home"


@pytest.fixture
def home(indexed: Path, tmp_path: Path) -> Home:
    shutil.copytree(indexed, tmp_path / "home")
    return Home(tmp_path / "home")


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a small disk in memory, of so many bytes."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(options: str) -> Path:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)], capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip("disks can be mounted by root alone")
        return disk

    yield mount
    subprocess.run(["umount", "-l", str(disk)], capture_output=True, check=False)


def total(home: Home) -> int:
    with Engine.open(home) as engine:
        ranked = engine.search(Request("anything", mode="meaning", limit=1000, include_all=True))
        assert engine.search(Request()).total == ranked.total
        return ranked.total


def test_a_disk_that_is_full_is_said_and_room_is_all_it_needs(
    mounted: Callable[[str], Path], photos: Path, nursery: Nursery, tried: Callable[[str], None]
) -> None:
    disk = mounted("size=64m")
    home = Home(disk / "home")
    run_index(home, [photos], OPTIONS)
    catalog = home.catalog_path.stat().st_size
    aside = Path(str(photos) + " grown")
    shutil.copytree(photos, aside)
    for room in (0, 4096, 32_768, 65_536, 131_072, 262_144, catalog):
        for number in range(10):
            picture(aside / f"for {room} {number}.jpg", 1000 + room + number)
        free = shutil.disk_usage(disk).free
        with open(disk / "ballast", "wb") as ballast:
            ballast.write(b"x" * max(0, free - room))
        end = nursery.run(home, [aside])
        assert not end["died"] and not (end["error"] or "").startswith("UNEXPECTED"), end
        assert room or "No space left" in (end["error"] or "") or "full" in (end["error"] or ""), end
        assert total(home) >= 20
        (disk / "ballast").unlink()
        tried("a full disk (tmpfs)")
    assert nursery.run(home, [aside])["error"] is None
    assert total(home) == 20 + 70
    shutil.rmtree(aside)


def test_a_home_on_a_disk_that_is_read_only_answers_and_says_why_it_is_not_indexed(
    mounted: Callable[[str], Path], home: Home, photos: Path, tried: Callable[[str], None]
) -> None:
    disk = mounted("size=64m")
    shutil.copytree(home.path, disk / "home")
    read_only = Home(disk / "home")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert total(read_only) == 20
    with pytest.raises(SightlineError, match="Read-only file system"):
        run_index(read_only, [photos], OPTIONS)
    done = subprocess.run(
        [sys.executable, "-m", "sightline", "index", "--home", str(read_only.path), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "Read-only file system" in json.loads(done.stdout)["error"]
    tried("a home on a read-only disk")


def test_a_home_on_a_network_drive_is_for_one_machine(
    home: Home, photos: Path, monkeypatch: pytest.MonkeyPatch, tried: Callable[[str], None]
) -> None:
    monkeypatch.setattr(machine, "file_system", lambda folder: "nfs4")
    assert run_index(home, [photos], OPTIONS).unchanged == 20
    assert total(home) == 20
    monkeypatch.setattr(machine, "_machine", lambda: "another one")
    for use in (lambda: run_index(home, [photos], OPTIONS), lambda: total(home), lambda: editing(home).__enter__()):
        with pytest.raises(CatalogError, match="lies on a network drive and is used by the machine"):
            use()
    (home.path / "machine.json").unlink()  # as the sentence says
    assert run_index(home, [photos], OPTIONS).unchanged == 20
    monkeypatch.setattr(machine, "file_system", lambda folder: "ext4")
    monkeypatch.setattr(machine, "_machine", lambda: "the first again")
    assert total(home) == 20  # the home was copied to a disk of its own
    tried("two machines that share a home on a network drive")


def test_the_kind_of_a_disk_is_told(tmp_path: Path) -> None:
    assert machine.file_system(b"/proc/self") == "proc"
    assert not machine.is_on_network(os.fsencode(tmp_path))


@pytest.mark.parametrize("days", [-4000, 40])
def test_a_clock_that_was_wrong_loses_nothing(
    home: Home, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tried: Callable[[str], None], days: int
) -> None:
    """Indexed while the clock was `days` ahead of what it is now."""
    from search.catalog import changes, clock

    own = tmp_path / "own"
    shutil.copytree(photos, own)
    wrong = (datetime.now(UTC) + timedelta(days=days)).isoformat(timespec="seconds")
    for module in (clock, changes):
        monkeypatch.setattr(module, "now", lambda: wrong)
    home = Home(tmp_path / "other home")
    run_index(home, [own], OPTIONS)
    (own / "0.jpg").rename(tmp_path / "0.jpg")
    run_index(home)
    monkeypatch.undo()
    assert total(home) == 19
    run_index(home)  # by the right clock: it was not gone for long
    (tmp_path / "0.jpg").rename(own / "0.jpg")
    report = run_index(home)
    assert (report.added, report.embedded) == (1, 0) and total(home) == 20
    with closing(connect_to_read(home)) as connection:
        assert connection.execute("SELECT count(*) FROM photos").fetchone()[0] == 20
    tried("a clock that was set back, or ahead")


def test_a_batch_that_does_not_fit_into_the_device_is_halved(
    home: Home, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tried: Callable[[str], None]
) -> None:
    import torch

    from search.models.encoder import Encoder

    embed_images, sizes = Encoder.embed_images, list[int]()

    def small(self: Encoder, batch: Any) -> Any:
        sizes.append(len(batch))
        if len(batch) > fits:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return embed_images(self, batch)

    monkeypatch.setattr(Encoder, "embed_images", small)
    more = tmp_path / "more"
    more.mkdir()
    for number in range(16):
        picture(more / f"{number}.jpg", 3000 + number)
    fits = 3
    report = run_index(home, [more], IndexOptions(captions="off", batch_size=16))
    assert report.embedded == 16 and max(sizes) > fits and total(home) == 36
    fits = 0
    picture(more / "last.jpg", 3100)
    with pytest.raises(SightlineError, match="does not fit into the memory of the device cpu, even with one photo"):
        run_index(home)
    fits = 16
    assert run_index(home).embedded == 1
    tried("a device that runs out of memory")

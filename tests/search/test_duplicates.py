"""Duplicates: which photos are copies of each other, in which groups they stand, and what a person may say of them."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from support import active_model, as_version

from indexer.demo import gather_samples
from indexer.report import IndexOptions
from indexer.run import run_index
from search import copies, duplicates
from search.catalog import changes, dismissals, settings
from search.catalog.connection import connect_to_read, connect_to_write
from search.catalog.editing import dismiss, take_dismissal_back
from search.duplicates import Duplicates, Group
from search.engine import Engine, Request
from search.errors import CatalogError, UnknownPhotoError
from search.home import Home
from search.vectors import stored
from search.vectors.protocol import Floats

pytestmark = pytest.mark.usefixtures("loaded_once")

_RANDOM = np.random.default_rng(0)
_DIMENSIONS = 16
REST = _RANDOM.normal(size=(300, _DIMENSIONS)).astype(np.float32)
REST /= np.linalg.norm(REST, axis=1, keepdims=True)
PAIR_DISTANCE = float(np.quantile((1 - REST @ REST.T)[np.triu_indices(300, 1)], 0.1))
HASH = 0x2A5C_93E1_7B04_D86F
NOON, LATER = "2021-06-30T12:00:00+02:00", "2021-06-30T12:00:01+02:00"


@dataclass(frozen=True)
class Made:
    """A photo as it is put into a catalog; known by its place.

    Attributes:
        flipped: how many bits of its hash differ from `HASH`, the lowest ones; None: too even for one.
        distance: of its embedding from the first photo's, in the pair distance, all to the same side.
        files: in how many files it lies.
    """

    flipped: int | None = 0
    distance: float = 0.0
    width: int = 100
    bytes: int = 1000
    taken_at: str | None = None
    kind: str | None = "photo"
    sort_at: str = "2020"
    files: int = 1


def vector(distance: float) -> Floats:
    angle = np.arccos(1 - PAIR_DISTANCE * distance)
    first, side = np.eye(_DIMENSIONS, dtype=np.float32)[:2]
    return np.asarray(np.cos(angle) * first + np.sin(angle) * side, np.float32)


def fill(home: Home, made: Sequence[Made]) -> None:
    """A catalog with these photos, the first of key 1, and 300 more that are no copies of anything."""
    rest = [Made(width=10) for _ in REST]
    with closing(connect_to_write(home)) as connection, connection:
        library = changes.add_library(connection, b"/photos")
        model = active_model(connection, _DIMENSIONS)
        for number, one in enumerate([*made, *rest]):
            own = number < len(made)
            code = int(_RANDOM.integers(1, 2**63)) if not own else HASH ^ (2 ** (one.flipped or 0) - 1)
            look = changes.Look(bytes(36), 0 if one.flipped is None else code)
            photo = changes.NewPhoto(
                f"{number:032x}", one.width, 100, "JPEG", one.bytes, one.taken_at, one.sort_at,
                None, None, None, None, 0.0, look,
            )  # fmt: skip
            key = changes.put_photo(connection, photo)
            for copy in range(one.files):
                name = b"%d-%d.jpg" % (number, copy)
                changes.put_file(
                    connection,
                    library_key=library,
                    folder=b"/photos",
                    name=name,
                    size=one.bytes,
                    mtime_ns=0,
                    photo_key=key,
                )
            embedding = vector(one.distance) if own else REST[number - len(made)]
            changes.put_embedding(connection, model.key, key, stored.pack(embedding))
            connection.execute("UPDATE photos SET kind = ? WHERE key = ?", (one.kind, key))
        settings.grow_revision(connection)


def places(group: Group) -> list[int]:
    return [member.photo.key - 1 for member in group.members]


def near(found: Duplicates) -> list[list[int]]:
    return [places(group) for group in found.groups if group.kind == "near"]


def groups(home: Home, *made: Made) -> list[list[int]]:
    """The near groups of a catalog with these photos, by their places."""
    fill(home, made)
    with Engine.open(home) as engine:
        return near(engine.duplicates())


@pytest.mark.parametrize(
    ("flipped", "distance", "copy"),
    [(4, 0.45, True), (10, 0.09, True), (5, 0.45, False), (10, 0.12, False), (11, 0.0, False), (0, 0.6, False)],
)
def test_hash_and_embedding_both_have_to_be_near(home: Home, flipped: int, distance: float, copy: bool) -> None:
    assert groups(home, Made(), Made(flipped, distance, width=95)) == ([[0, 1]] if copy else [])


def test_what_is_of_the_same_size_is_no_cut_but_another_frame(home: Home) -> None:
    assert groups(home, Made(), Made(6), Made(4)) == [[0, 2]]


@pytest.mark.parametrize("dates", [(NOON, LATER), (LATER, NOON)])
def test_what_was_taken_at_another_second_is_no_copy(home: Home, dates: tuple[str, str]) -> None:
    assert groups(home, Made(taken_at=dates[0]), Made(taken_at=dates[1]), Made(4, taken_at=dates[0])) == [[0, 2]]


def test_a_copy_without_a_date_brings_no_two_dates_together(home: Home) -> None:
    undated = Made(width=200)
    frames = [Made(2, 0.05, taken_at=NOON), Made(0, 0.01, taken_at=LATER), Made(4, 0.08, taken_at=LATER)]
    assert groups(home, undated, *frames) == [[0, 2, 3]]


@pytest.mark.parametrize("kind", ["document", "screenshot", "drawing", None])
def test_pages_must_be_nearly_the_same_and_what_has_no_kind_yet_too(home: Home, kind: str | None) -> None:
    made = [Made(kind=kind), Made(2, 0.02, kind=kind), Made(3, 0.0), Made(0, 0.04), Made(1, 0.01)]
    assert groups(home, *made) == [[0, 1, 4], [2, 3]]


def test_pictures_too_even_for_a_hash_are_never_near(home: Home) -> None:
    assert groups(home, *[Made(None)] * 5) == []


def test_a_hash_that_very_many_share_tells_nothing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "COMMON", 4)
    assert groups(home, *[Made()] * 5, *[Made(20)] * 4) == [[5, 6, 7, 8]]


def test_everyone_is_near_to_the_best_so_that_no_chain_forms(home: Home) -> None:
    # Each is near to the next.
    chain = [Made(flipped, flipped / 100, width=100 - flipped) for flipped in (0, 8, 16, 24)]
    assert groups(home, *chain) == [[0, 1], [2, 3]]


def test_the_best_has_most_pixels_then_bytes_then_the_earliest_date(home: Home) -> None:
    made = [Made(), Made(bytes=2000, sort_at="2019"), Made(bytes=2000, sort_at="2018"), Made(width=101, bytes=10)]
    assert groups(home, *made) == [[3, 2, 1, 0]]


@pytest.mark.parametrize("others", [0, 1, 4])
def test_a_folder_of_hardly_anything_but_copies_has_them_found(
    home: Home, others: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.REST", REST[:others])
    assert groups(home, Made(width=101), Made(0, 0.05), Made(2, 0.05), Made(4, 0.07)) == [[0, 1, 2, 3]]


def test_a_member_says_how_far_from_the_best_it_is(home: Home) -> None:
    fill(home, [Made(width=101), Made(3, 0.05)])
    with Engine.open(home) as engine:
        (group,) = engine.duplicates().groups
    assert [(member.bits, round(member.distance, 2)) for member in group.members] == [(0, 0.0), (3, 0.05)]


def test_groups_come_by_what_is_reclaimable_page_by_page(home: Home) -> None:
    lonely = Made(30, 0.9, bytes=700, files=4)
    fill(home, [Made(width=101, bytes=1), Made(bytes=800, files=2), Made(bytes=300), lonely])
    with Engine.open(home) as engine:
        whole = engine.duplicates()
        pages = [engine.duplicates(limit=2, offset=offset) for offset in (0, 2, 4)]
    assert [(group.kind, places(group), group.reclaimable) for group in whole.groups] == [
        ("exact", [3], 2100),
        ("near", [0, 1, 2], 1100),
        ("exact", [1], 800),
    ]
    assert [group for page in pages for group in page.groups] == list(whole.groups)
    assert {(page.total, page.reclaimable, page.unhashed) for page in [whole, *pages]} == {(3, 4000, 0)}


def photo_id(place: int) -> str:
    return f"{place:032x}"


def test_what_a_person_dismissed_never_stands_in_one_group(home: Home) -> None:
    fill(home, [Made(width=103 - place) for place in range(4)])
    with Engine.open(home) as engine:
        assert near(engine.duplicates()) == [[0, 1, 2, 3]]
        assert dismiss(home, [photo_id(1), photo_id(2)]) == 1
        assert near(engine.duplicates()) == [[0, 1, 3]]
        assert dismiss(home, [photo_id(place) for place in (0, 1, 3)]) == 3
        assert near(engine.duplicates()) == [[0, 2]]
        assert dismiss(home, [photo_id(place) for place in (0, 1, 3)]) == 0  # none of them is new
        assert take_dismissal_back(home, [photo_id(place) for place in range(4)]) == 4
        assert near(engine.duplicates()) == [[0, 1, 2, 3]]


def test_a_dismissal_that_names_an_unknown_photo_keeps_nothing(home: Home) -> None:
    with pytest.raises(CatalogError, match="There is no index"):
        dismiss(home, [photo_id(0), photo_id(1)])
    fill(home, [Made(), Made()])
    with pytest.raises(UnknownPhotoError, match="There is no photo nobody in this index"):
        dismiss(home, [photo_id(0), photo_id(1), "nobody"])
    with Engine.open(home) as engine:
        assert near(engine.duplicates()) == [[0, 1]]


def test_dismissals_outlast_a_photo_that_comes_back_and_go_with_one_that_is_forgotten(home: Home) -> None:
    fill(home, [Made(), Made()])
    dismiss(home, [photo_id(0), photo_id(1)])
    with closing(connect_to_write(home)) as connection, connection:
        connection.execute("DELETE FROM files WHERE photo_key = 2")
        changes.mark_orphans(connection, [2])
        assert changes.purge_orphans(connection) == []
        assert dismissals.apart(connection) == {1: {2}, 2: {1}}
        connection.execute("UPDATE photos SET orphaned_at = '2020' WHERE key = 2")
        assert changes.purge_orphans(connection) == [photo_id(1)]
        assert dismissals.apart(connection) == {}


def test_what_was_found_is_kept_while_a_run_goes_on_committing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(home, [Made(width=101), Made()])
    with Engine.open(home) as engine:
        monkeypatch.setattr(duplicates, "KEPT", 10**6)
        assert near(engine.duplicates()) == [[0, 1]]
        with closing(connect_to_write(home)) as connection, connection:
            connection.execute("UPDATE photos SET orphaned_at = '2026' WHERE key = 2")
            settings.grow_revision(connection)
        stale = engine.duplicates()
        assert (stale.total, stale.groups) == (1, ())  # but what is gone is not shown
    monkeypatch.setattr(duplicates, "KEPT", 0)
    with Engine.open(home) as engine:
        assert engine.duplicates().total == 0
        with closing(connect_to_write(home)) as connection, connection:
            connection.execute("UPDATE photos SET orphaned_at = NULL WHERE key = 2")
            settings.grow_revision(connection)
        assert near(engine.duplicates()) == [[0, 1]]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample photos, one of them twice, copies of two, and two frames of a burst."""
    folder = tmp_path_factory.mktemp("duplicates") / "library"
    gather_samples(folder)
    shutil.copy(folder / "rocket.jpg", folder / "rocket again.jpg")
    with Image.open(folder / "coffee.png") as opened:
        cup = opened.convert("RGB")
    cup.save(folder / "coffee_saved.jpg", quality=60)
    ImageEnhance.Brightness(cup).enhance(1.15).resize((300, 200)).save(folder / "coffee_small.jpg")
    with Image.open(folder / "motorcycle_left.png") as opened:
        frame = opened.convert("RGB")
    for second, left in ((0, 0), (1, 8)):
        exif = Image.Exif()
        exif[0x0132] = f"2021:06:30 18:00:0{second}"
        frame.crop((left, 0, frame.width - 8 + left, frame.height)).save(folder / f"burst_{second}.jpg", exif=exif)
    (folder / "motorcycle_left.png").unlink()
    return folder


@pytest.fixture(scope="module")
def indexed(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("indexed") / "home")
    run_index(home, [library], IndexOptions(model="starter", captions="off"))
    return home


@pytest.fixture
def own_home(indexed: Home, tmp_path: Path) -> Iterator[Home]:
    """A copy of `indexed` that a test may change."""
    with closing(sqlite3.connect(indexed.catalog_path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    yield Home(Path(shutil.copytree(indexed.path, tmp_path / "own")))


def names(found: Duplicates) -> dict[str, list[set[str]]]:
    return {
        kind: [
            {Path(path.decode()).name for member in group.members for path in member.photo.paths}
            for group in found.groups
            if group.kind == kind
        ]
        for kind in ("exact", "near")
    }


ROCKETS, CUPS = {"rocket.jpg", "rocket again.jpg"}, {"coffee.png", "coffee_saved.jpg", "coffee_small.jpg"}


def test_real_copies_are_found_and_frames_of_a_burst_are_none(indexed: Home) -> None:
    with Engine.open(indexed) as engine:
        found = engine.duplicates()
    assert names(found) == {"exact": [ROCKETS], "near": [CUPS]}
    (cups,) = [group for group in found.groups if group.kind == "near"]
    assert Path(cups.members[0].photo.path).name == "coffee.png"
    assert found.unhashed == 0


def test_an_index_of_version_3_has_exact_ones_until_its_photos_are_read_again(own_home: Home) -> None:
    as_version(own_home.catalog_path, 3)
    with pytest.raises(CatalogError, match="run `sightline index` once"):
        connect_to_read(own_home)
    assert run_index(own_home).embedded == 0
    with Engine.open(own_home) as engine:
        before = engine.duplicates()
        assert names(before) == {"exact": [ROCKETS], "near": []}
        hits = engine.search(Request(limit=100)).hits
        assert before.unhashed == len(hits)
        assert {hit.preview for hit in hits} == {None} == {hit.to_json()["preview"] for hit in hits}


def test_a_photo_that_is_read_again_gets_the_look_it_lacks_and_keeps_one_it_has(home: Home) -> None:
    def photo(*look: object) -> changes.NewPhoto:
        return changes.NewPhoto("a" * 32, 1, 1, "JPEG", 1, None, "2020", None, None, None, None, 0.0, *look)  # type: ignore[arg-type]

    looks = [changes.Look(bytes([number] * 36), number) for number in (1, 2)]
    with closing(connect_to_write(home)) as connection, connection:
        for one in (photo(), photo(looks[0]), photo(looks[1]), photo()):
            key = changes.put_photo(connection, one)
        assert connection.execute("SELECT key, preview, perceptual_hash FROM photos").fetchall() == [(key, *looks[0])]


def test_photos_that_were_dismissed_do_not_collapse_in_searches(own_home: Home) -> None:
    with Engine.open(own_home) as engine:
        request = Request("coffee", mode="words", collapse=True)
        (hit,) = engine.search(request).hits
        assert len(hit.others) == 2
        dismiss(own_home, [hit.id, hit.others[1]])
        assert [(one.id, one.others) for one in engine.search(request).hits] == [
            (hit.id, hit.others[:1]),
            (hit.others[1], ()),
        ]


def test_of_a_large_group_the_best_are_shown_and_all_are_counted(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "MOST_SHOWN", 2)
    fill(home, [Made(width=100 + number) for number in range(4)])
    with Engine.open(home) as engine:
        (group,) = engine.duplicates().groups
    assert (places(group), group.count, group.reclaimable) == ([3, 2], 4, 3000)

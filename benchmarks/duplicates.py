"""How right near copies are found, and how long that takes in a large library.

    python benchmarks/duplicates.py --images photos --pages 100
    python benchmarks/duplicates.py --synthetic 100000 500000

No two of the photos should be copies of each other. Of some of them copies are made as people and programs make them,
and frames as a burst has them, which are no copies; `--pages` adds screens, pages and drawings (benchmarks/pictures.py,
with Chromium). All is written to files, indexed, and asked for as the API does. Synthetic libraries have random hashes
and embeddings, and a copy of every twentieth photo.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageEnhance, ImageFont

from indexer.read import read_photo
from indexer.report import IndexOptions
from indexer.run import run_index
from search import copies
from search.catalog import changes, model_records, settings
from search.catalog.connection import connect_to_read, connect_to_write
from search.copies import near_copies
from search.duplicates import DuplicateGroups
from search.hash_pairs import BITS, hash_pairs
from search.home import Home
from search.vectors import stored
from search.vectors.snapshot import take

Edit = Callable[[Image.Image], Image.Image]
_DIMENSIONS = 384


def main() -> None:
    """Print what is found of copies and of what is none; or how long it takes in libraries of some sizes."""
    parser = argparse.ArgumentParser(description="Measure how duplicates are found.")
    parser.add_argument("--images", type=Path, help="a folder of photos, no two of them copies")
    parser.add_argument("--model", default="starter", help="the model to measure")
    parser.add_argument("--edited", type=int, default=200, help="of how many photos copies are made")
    parser.add_argument("--pages", type=int, default=0, help="screens, pages and drawings that are made, of each kind")
    parser.add_argument("--synthetic", type=int, nargs="*", default=[], help="photos of libraries to time")
    options = parser.parse_args()
    if options.images:
        with tempfile.TemporaryDirectory() as folder:
            _measure(options, Path(folder).resolve())
    for photos in options.synthetic:
        with tempfile.TemporaryDirectory() as folder:
            _time(Home(Path(folder)), photos)


def _measure(options: argparse.Namespace, root: Path) -> None:
    library = root / "library"
    photos = sorted(file for file in options.images.iterdir() if file.is_file())
    chosen = [photos[place] for place in np.linspace(0, len(photos) - 1, min(options.edited, len(photos))).astype(int)]
    edits = {name: edit for table in (COPIES, FRAMES) for name, edit in table.items()}
    _write(library, {"photo": photos})
    _edit(library, chosen, "", edits)
    if options.pages:
        from benchmarks.pictures import make

        make(library, photos, options.pages, seed=1)
        for kind in PAGES:
            made = sorted((library / kind).iterdir())
            _edit(library, made, f"{kind}: ", {name: COPIES[name] for name in SIMPLE})
    home = Home(root / "home")
    run_index(home, [library], IndexOptions(model=options.model, captions="off", download=False))
    with closing(connect_to_read(home)) as connection:
        snapshot = take(home, connection, None)
        assert snapshot is not None
        found = near_copies(connection, snapshot)
        groups = DuplicateGroups().page(connection, lambda: snapshot, 10**6, 0).groups
        rows = connection.execute(
            "SELECT photos.key, perceptual_hash, folder, name FROM files JOIN photos ON photos.key = photo_key"
        ).fetchall()
    place = {(Path(folder.decode()).name, Path(name.decode()).stem): at for at, (_, _, folder, name) in enumerate(rows)}
    at = {key: number for number, (key, *_) in enumerate(rows)}
    keys, hashes = np.asarray([row[0] for row in rows]), np.asarray([row[1] for row in rows], np.uint64)
    vectors, unit = snapshot.vectors(keys), snapshot.pair_distance
    named = found.photos["key"]
    pairs = {
        frozenset((at[one], at[other]))
        for one, other in zip(named[found.one].tolist(), named[found.other].tolist(), strict=True)
    }
    print(f"{len(photos)} photos, {len(rows)} with what was made; model {options.model}, pair distance {unit:.3f}\n")
    print("| variant | found | by the hash alone | by the embedding alone |\n|---|---|---|---|")
    compared = {name: ("photo", name) for name in edits if name not in (FIRST, DATED)}
    compared |= {NEXT: (FIRST, NEXT), MOVED: (DATED, MOVED)}
    for kind in PAGES if options.pages else ():
        compared |= {f"{kind}: {name}": (kind, f"{kind}: {name}") for name in SIMPLE}
    for name, (one_folder, other_folder) in compared.items():
        both = [(place[one_folder, stem], other) for (folder, stem), other in place.items() if folder == other_folder]
        one, other = np.asarray(both).T
        bits = np.bitwise_count(hashes[one] ^ hashes[other])
        away = (1 - np.einsum("nd,nd->n", vectors[one], vectors[other])) / unit
        told = (hashes[one] > 0) & (hashes[other] > 0)
        shares = (
            np.mean([frozenset(pair) in pairs for pair in both]),
            (told & (bits <= BITS)).mean(),
            (away <= copies.NEAR_DISTANCE).mean(),
        )
        print(f"| {name} | {' | '.join(f'{100 * share:.0f} %' for share in shares)} |")
    print("\n| different pictures | pairs | taken for copies | by the hash alone | by the embedding alone | too even |")
    print("|---|---|---|---|---|---|")
    for kind in ("photo", *(PAGES if options.pages else ())):
        some = np.asarray([number for (folder, _), number in place.items() if folder == kind])
        one, other = (some[side] for side in np.triu_indices(len(some), 1))
        told = (hashes[one] > 0) & (hashes[other] > 0)
        alike = (told & (np.bitwise_count(hashes[one] ^ hashes[other]) <= BITS)).sum()
        away = (
            (1 - vectors[some] @ vectors[some].T)[np.triu_indices(len(some), 1)] / unit <= copies.NEAR_DISTANCE
        ).sum()
        wrong = sum(pair <= set(some.tolist()) for pair in pairs)
        print(f"| {kind} | {len(one):,} | {wrong} | {alike} | {away} | {100 * (hashes[some] == 0).mean():.0f} % |")
    right = total = 0
    for group in groups:
        best, *others = [
            (file.parent.name, file.parent.name.partition(": ")[0] in PAGES, file.stem)
            for file in (Path(member.photo.paths[0].decode()) for member in group.members)
        ]
        others = [other for other in others if FRAME not in other[0]]
        right += sum(other[1:] == best[1:] for other in others)
        total += len(others)
    print(f"\n{len(groups)} groups; but for frames {right} of {total} members show what the best of their group does.")


def _write(library: Path, folders: dict[str, list[Path]]) -> None:
    for name, files in folders.items():
        (library / name).mkdir(parents=True)
        for file in files:
            (library / name / file.name).write_bytes(file.read_bytes())


def _edit(library: Path, files: list[Path], prefix: str, edits: dict[str, Edit]) -> None:
    for name, edit in edits.items():
        folder = library / f"{prefix}{name}"
        folder.mkdir()
        for file in files:
            exif = Image.Exif()
            if name in DATES:
                exif[0x0132] = DATES[name]
            edit(read_photo(file)).save(folder / f"{file.stem}.jpg", quality=QUALITIES.get(name, 90), exif=exif)


def _time(home: Home, photos: int) -> None:
    random = np.random.default_rng(0)
    hashes = random.integers(1, 2**63, photos, dtype=np.uint64)
    vectors = random.normal(size=(photos, _DIMENSIONS)).astype(np.float32)
    for copy in range(0, photos, 20):
        flipped = random.integers(0, 63, random.integers(0, BITS + 1))
        hashes[copy] = hashes[copy + 1] ^ np.bitwise_or.reduce(np.uint64(1) << flipped.astype(np.uint64), initial=0)
        vectors[copy] = vectors[copy + 1]
    _fill(home, hashes, vectors)
    del vectors
    with closing(connect_to_read(home)) as connection:
        snapshot = take(home, connection, None)
        assert snapshot is not None
        cpu, began = time.process_time(), time.perf_counter()
        hash_pairs(np.unique(hashes))
        pairing = time.process_time() - cpu, time.perf_counter() - began
        groups = DuplicateGroups()
        cpu, began = time.process_time(), time.perf_counter()
        found = groups.page(connection, lambda: snapshot, 50, 0)
        finding = time.process_time() - cpu, time.perf_counter() - began
        began = time.perf_counter()
        groups.page(connection, lambda: snapshot, 50, 500)
        again = time.perf_counter() - began
        tracemalloc.start()
        DuplicateGroups().page(connection, lambda: snapshot, 50, 0)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    print(
        f"{photos:,} photos: pairs of hashes in {pairing[0]:.1f} s of one core ({pairing[1]:.1f} s by the clock), the"
        f" first page of {found.total:,} groups in {finding[0]:.1f} s ({finding[1]:.1f} s), a further one in"
        f" {1000 * again:.0f} ms; {peak / 2**20:.0f} MiB of memory at most."
    )


def _fill(home: Home, hashes: npt.NDArray[np.uint64], vectors: npt.NDArray[np.float32]) -> None:
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with closing(connect_to_write(home)) as connection, connection:
        library = changes.add_library(connection, b"/photos")
        model = model_records.register(
            connection,
            name="synthetic",
            weights="0" * 16,
            preprocessing="0" * 8,
            precision="auto",
            dimensions=_DIMENSIONS,
            logit_scale=1.0,
            logit_bias=None,
        )
        model_records.activate(connection, model.key)
        for number, (code, vector) in enumerate(zip(hashes.tolist(), vectors, strict=True)):
            look = changes.Look(bytes(36), code)
            photo = changes.NewPhoto(
                f"{number:032x}",
                4000,
                3000,
                "JPEG",
                3_000_000 + number,
                None,
                "2020",
                None,
                None,
                None,
                None,
                0.0,
                look,
            )
            key = changes.put_photo(connection, photo)
            changes.put_file(
                connection,
                library_key=library,
                folder=b"/photos",
                name=b"%d.jpg" % number,
                size=photo.bytes,
                mtime_ns=0,
                photo_key=key,
            )
            changes.put_embedding(connection, model.key, key, stored.pack(vector))
        connection.execute("UPDATE photos SET kind = 'photo'")
        settings.grow_revision(connection)


def _cut(part: float, left: float = 0.5, top: float = 0.5) -> Edit:
    def edit(picture: Image.Image) -> Image.Image:
        width, height = int(part * picture.width), int(part * picture.height)
        x, y = int(left * (picture.width - width)), int(top * (picture.height - height))
        return picture.crop((x, y, x + width, y + height))

    return edit


def _scaled(factor: float) -> Edit:
    return lambda picture: picture.resize((round(factor * picture.width), round(factor * picture.height)))


def _webp(picture: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=50)
    with Image.open(buffer) as opened:
        return opened.convert("RGB")


def _marked(picture: Image.Image, *, label: bool = False) -> Image.Image:
    """A name in a corner; on a white label it covers a twentieth of the picture."""
    marked, (width, height) = picture.copy(), picture.size
    draw = ImageDraw.Draw(marked)
    if label:
        draw.rectangle((0.68 * width, 0.85 * height, 0.99 * width, 0.99 * height), fill="white")
    font = ImageFont.load_default(0.07 * height)
    draw.text((0.97 * width, 0.96 * height), "© Studio", "black" if label else "white", font=font, anchor="rs")
    return marked


def _moved(by: float) -> Edit:
    """The middle of the picture, a third of it wide, moves to the side by so much of the width; the rest stays."""

    def edit(picture: Image.Image) -> Image.Image:
        pixels = np.asarray(picture)
        height, width = pixels.shape[:2]
        y, x = np.mgrid[:height, :width]
        away = ((x / width - 0.5) ** 2 + (y / height - 0.5) ** 2) / (2 * 0.18**2)
        source = np.clip((x - by * width * np.exp(-away)).round().astype(int), 0, width - 1)
        return Image.fromarray(pixels[y, source])

    return edit


FRAME = "frame"
FIRST, NEXT = f"{FRAME} before the camera moved", f"{FRAME}, all moved by 6 %"
DATED, MOVED = f"{FRAME} with its date", f"{FRAME}, the middle moved by 3 % a second later"
COPIES: dict[str, Edit] = {
    "saved as JPEG, quality 75": lambda picture: picture,
    "saved as JPEG, quality 30": lambda picture: picture,
    "saved as WebP, quality 50": _webp,
    "half as wide and high": _scaled(0.5),
    "twice as wide and high": _scaled(2),
    "20 % brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.2),
    "20 % darker": lambda picture: ImageEnhance.Brightness(picture).enhance(0.8),
    "30 % more contrast": lambda picture: ImageEnhance.Contrast(picture).enhance(1.3),
    "half the colour": lambda picture: ImageEnhance.Color(picture).enhance(0.5),
    "black and white": lambda picture: picture.convert("L").convert("RGB"),
    "a name written into a corner": _marked,
    "a label in a corner, a twentieth of the picture": lambda picture: _marked(picture, label=True),
    "95 % of width and height, the middle": _cut(0.95),
    "95 % of width and height, a corner": _cut(0.95, 0, 0),
    "90 %, the middle": _cut(0.9),
    "turned by 2 degrees": lambda picture: _cut(0.93)(picture.rotate(2, Image.Resampling.BICUBIC)),
}
FRAMES: dict[str, Edit] = {
    f"{FRAME}, the middle moved by 3 %": _moved(0.03),
    f"{FRAME}, the middle moved by 6 %": _moved(0.06),
    f"{FRAME}, the middle moved by 10 %": _moved(0.1),
    FIRST: _cut(0.94, 0),
    NEXT: _cut(0.94, 1),
    DATED: lambda picture: picture,
    MOVED: _moved(0.03),
}
SIMPLE = ("saved as JPEG, quality 75", "half as wide and high")
PAGES = ("screenshot", "document", "drawing")
DATES = {DATED: "2021:06:30 18:00:00", MOVED: "2021:06:30 18:00:01"}
QUALITIES = {"saved as JPEG, quality 75": 75, "saved as JPEG, quality 30": 30}

if __name__ == "__main__":
    main()

"""How near copies of a photo lie to it, and how near photos do that are different: what the bounds of a moment rest on.

    python benchmarks/moments.py --images photos

No two of the photos should be copies of each other. Of some of them, variants are made as people and programs make
them. Distances (1 - cosine) are in the library's own measure, `Snapshot.pair_distance`, as search.moments takes them.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from indexer.read import read_photo
from indexer.report import IndexOptions
from indexer.run import run_index
from search.catalog.connection import connect_to_read
from search.home import Home
from search.models.encoder import load_encoder
from search.moments import moments
from search.ranking_settings import RankingSettings
from search.vectors.snapshot import take

Edit = Callable[[Image.Image], Image.Image]
_BATCH = 50


def main() -> None:
    """Print the distances of variants and of different photos, and what collapsing an answer costs."""
    parser = argparse.ArgumentParser(description="Measure how near copies and different photos lie.")
    parser.add_argument("--images", type=Path, required=True, help="a folder of photos, no two of them copies")
    parser.add_argument("--model", default="starter", help="the model to measure")
    parser.add_argument("--edited", type=int, default=300, help="of how many photos variants are made")
    options = parser.parse_args()
    ranking = RankingSettings.read()
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        run_index(home, [options.images], IndexOptions(model=options.model, captions="off", download=False))
        with closing(connect_to_read(home)) as connection:
            snapshot = take(home, connection, None)
            assert snapshot is not None
            vectors, unit = snapshot.vectors(snapshot.live), snapshot.pair_distance
            seconds = []
            for _ in range(9):
                began = time.perf_counter()
                grouped = moments(connection, snapshot, snapshot.live, ranking)
                seconds.append(time.perf_counter() - began)
    print(f"{len(vectors)} photos, model {options.model}, pair distance {unit:.3f}\n")
    encoder = load_encoder(options.model)
    files = sorted(file for file in options.images.iterdir() if file.is_file())
    chosen = [files[place] for place in np.linspace(0, len(files) - 1, min(options.edited, len(files))).astype(int)]

    def embedded(edit: Edit) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        parts = []
        for start in range(0, len(chosen), _BATCH):
            pictures = [edit(read_photo(file)) for file in chosen[start : start + _BATCH]]
            parts.append(encoder.embed_images(np.stack([encoder.preprocess(picture) for picture in pictures])))
        return np.concatenate(parts)

    originals = embedded(lambda picture: picture)
    print("| variant | distance: median | 95 % of them | copies | of one moment |\n|---|---|---|---|---|")
    for name, edit in EDITS.items():
        distances = (1 - np.einsum("nd,nd->n", originals, embedded(edit))) / unit
        median, most = np.quantile(distances, (0.5, 0.95))
        copies, near = (100 * (distances <= bound).mean() for bound in (ranking.copy_distance, ranking.moment_distance))
        print(f"| {name} | {median:.3f} | {most:.3f} | {copies:.0f} % | {near:.0f} % |")
    distances = (1 - vectors @ vectors.T) / unit
    pairs = distances[np.triu_indices(len(vectors), 1)]
    np.fill_diagonal(distances, np.inf)
    nearest = distances.min(axis=1)
    print(
        f"\nDifferent photos: the nearest two of {len(pairs):,} pairs are {pairs.min():.3f} apart; as copies count"
        f" {(pairs <= ranking.copy_distance).sum()} pairs. {100 * (nearest <= ranking.moment_distance).mean():.0f} % of"
        " the photos have another one near enough for one moment, were it taken in the same minutes.\n"
        f"An answer of {len(vectors)} hits collapsed into {len(vectors) - sum(map(len, grouped.values()))} in"
        f" {1000 * np.median(seconds):.0f} ms."
    )


def _saved(quality: int) -> Edit:
    def edit(picture: Image.Image) -> Image.Image:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality)
        with Image.open(buffer) as opened:
            return opened.convert("RGB")

    return edit


def _cut(part: float, left: float = 0.5, top: float = 0.5) -> Edit:
    def edit(picture: Image.Image) -> Image.Image:
        width, height = int(part * picture.width), int(part * picture.height)
        x, y = int(left * (picture.width - width)), int(top * (picture.height - height))
        return picture.crop((x, y, x + width, y + height))

    return edit


EDITS: dict[str, Edit] = {
    "saved as JPEG, quality 75": _saved(75),
    "saved as JPEG, quality 30": _saved(30),
    "half as wide and high": lambda picture: picture.resize((picture.width // 2, picture.height // 2)),
    "20 % brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.2),
    "30 % more contrast": lambda picture: ImageEnhance.Contrast(picture).enhance(1.3),
    "half the colour": lambda picture: ImageEnhance.Color(picture).enhance(0.5),
    "95 % of width and height": _cut(0.95),
    "90 %, the middle": _cut(0.9),
    "90 %, a corner": _cut(0.9, 0, 0),
    "80 %, a corner": _cut(0.8, 0, 0),
    "turned by 2 degrees": lambda picture: _cut(0.93)(picture.rotate(2, Image.Resampling.BICUBIC)),
}

if __name__ == "__main__":
    main()

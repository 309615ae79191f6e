"""What a model finds, to be judged by eye: a picture with the best photos for each query, the best one first.

    python benchmarks/contact_sheet.py [PHOTOS] [--queries FILE] [--model starter] [--best 5] [--to sheet.jpg]

PHOTOS is a folder of photos; without it, the photographs that installed packages carry are taken, grey ones too. The
queries are the lines of FILE; without it, those of `QUERIES`, and it is counted how often the photo that is meant comes
first.
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from search.models.encoder import load_encoder

# Each with the photo that is meant, where there is one. The first ten are the built-in model's bar.
QUERIES = {
    "a cat": "chelsea",
    "a cup of coffee": "coffee",
    "an astronaut": "astronaut",
    "a rocket launch": "rocket",
    "a temple": "china",
    "a flower": "flower",
    "a motorcycle": "motorcycle_left",
    "coins": "coins",
    "the moon": "moon",
    "a page of text": "page",
    "a woman wearing glasses": "grace_hopper",
    "stars in the night sky": "hubble_deep_field",
    "a brick wall": "brick",
    "grass": "grass",
    "stones": "gravel",
    "a man taking a picture": "camera",
    "a woman in an orange suit": "astronaut",
    "something to drink": "coffee",
    "an animal": "chelsea",
    "a vehicle": "motorcycle_left",
}
BAR = 10
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
PACKAGES = (("skimage", "data"), ("sklearn", "datasets/images"), ("matplotlib", "mpl-data/sample_data"))
# What is no photograph, or shows the same as another.
LEFT_OUT = (
    "chessboard",
    "color",
    "logo",
    "multipage",
    "phantom",
    "microaneurysms",
    "motorcycle_right",
    "Minduka",
    "horse",
)
SIDE, MARGIN, LABEL = 132, 6, 22


def samples() -> list[Path]:
    """The photographs that installed packages carry."""
    roots = [Path(str(importlib.util.find_spec(package).origin)).parent / inside for package, inside in PACKAGES]  # type: ignore[union-attr]
    files = [file for root in roots for file in root.iterdir() if file.suffix in (".png", ".jpg")]
    return sorted(file for file in files if not file.name.startswith(LEFT_OUT))


def sheet(queries: list[str], photos: list[Image.Image], order: np.ndarray, best: int) -> Image.Image:
    """One row for each query, in two columns; `order` int64 [queries, photos] are the photos, the best first."""
    width, height = best * (SIDE + MARGIN) + 3 * MARGIN, SIDE + LABEL + 2 * MARGIN
    rows = -(-len(queries) // 2)
    page = Image.new("RGB", (2 * width, rows * height), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(15)
    for number, query in enumerate(queries):
        left, top = number // rows * width + MARGIN, number % rows * height + MARGIN
        draw.text((left, top), query, fill="black", font=font)
        for place, photo in enumerate(order[number, :best]):
            small = photos[photo].copy()
            small.thumbnail((SIDE, SIDE))
            page.paste(small, (left + place * (SIDE + MARGIN), top + LABEL))
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="?", type=Path)
    parser.add_argument("--queries", type=Path)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--best", type=int, default=5)
    parser.add_argument("--to", type=Path, default=Path("sheet.jpg"))
    chosen = parser.parse_args()
    queries = list(QUERIES) if chosen.queries is None else chosen.queries.read_text(encoding="utf-8").splitlines()
    files = (
        samples()
        if chosen.photos is None
        else sorted(p for p in chosen.photos.rglob("*") if p.suffix.lower() in SUFFIXES)
    )
    photos = [Image.open(file).convert("RGB") for file in files]
    encoder = load_encoder(chosen.model)
    images = encoder.embed_images(np.stack([encoder.preprocess(photo) for photo in photos]))
    similarity = encoder.embed_texts(queries) @ images.T
    order = np.argsort(-similarity, axis=1)
    sheet(queries, photos, order, chosen.best).save(chosen.to, quality=85)
    for query, row, best in zip(queries, similarity, order, strict=True):
        print(f"{query}: " + ", ".join(f"{files[i].stem} {row[i]:.2f}" for i in best[: chosen.best]))
    if chosen.photos is None and chosen.queries is None:
        first = [files[best[0]].stem == QUERIES[query] for query, best in zip(queries, order, strict=True)]
        print(f"first for their query: {sum(first[:BAR])} of {BAR}, {sum(first)} of {len(first)}")


if __name__ == "__main__":
    main()

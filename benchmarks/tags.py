"""How right tags are, by what people wrote under the photos, and how long tagging a library anew takes.

    python benchmarks/tags.py captions.json --images photos [--sheet tags.jpg]

A tag counts as right if one of the photo's captions names the concept, a synonym of it or something narrower. Captions
leave most of a picture unsaid, so that these figures are lower bounds; `--sheet` writes photos with their tags, chosen
by chance, for eyes to judge. Tagging anew reads the vocabulary, measures what is usual, and tags and commits every
photo, with the texts' embeddings in the cache, as they are but for the first time with a model.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Collection, Sequence
from contextlib import closing
from pathlib import Path
from typing import NoReturn

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from sqlite_utils import Database

from indexer.read import read_photo
from indexer.report import IndexOptions
from indexer.run import run_index
from indexer.tag import PhotoTagging
from search.catalog import model_records
from search.catalog.connection import connect_to_write
from search.catalog.model_records import ModelRecord
from search.evaluate import read_karpathy
from search.home import Home
from search.mentions import Mentions
from search.tagging import WANTED, Tagger
from search.vectors import stored
from search.vocabulary import concepts, implied

ROUNDS = 7
NAMED = 5
COLUMNS, SIDE, LINE, CHARACTERS = 5, 250, 15, 36


def main() -> None:
    """Index the photos, tag them a few times more, and print the figures."""
    parser = argparse.ArgumentParser(description="Measure tags.")
    parser.add_argument("captions", type=Path, help="captions in Karpathy's JSON format")
    parser.add_argument("--images", type=Path, required=True, help="the folder of their photos")
    parser.add_argument("--model", default="starter", help="the model to measure")
    parser.add_argument("--sheet", type=Path, help="write photos with their tags here")
    parser.add_argument("--photos", type=int, default=50, help="so many photos on the sheet")
    parser.add_argument("--seed", type=int, default=1, help="other photos on the sheet for another number")
    options = parser.parse_args()
    captioned = read_karpathy(options.captions, options.images)
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        run_index(home, [options.images], IndexOptions(model=options.model, captions="off", download=False))
        with closing(connect_to_write(home)) as connection:
            database = Database(connection, recursive_triggers=False)
            model = model_records.active(connection)
            assert model is not None
            seconds, tagger = _tagged_anew(database, model)
            rows = connection.execute(
                "SELECT CAST(name AS TEXT), tag, score FROM files LEFT JOIN tags USING (photo_key)"
                " WHERE photo_key IS NOT NULL ORDER BY score DESC"
            ).fetchall()
            keys = dict(connection.execute("SELECT photo_key, CAST(name AS TEXT) FROM files"))
            numbers, vectors, _ = stored.load(connection, model.key, model.dimensions)
    tags: dict[str, list[tuple[str, float]]] = {name: [] for name, _, _ in rows}
    for name, tag, score in rows:
        if tag:
            tags[name].append((tag, score))
    print(f"{len(tags)} photos tagged anew in {min(seconds):.2f} s (median {sorted(seconds)[ROUNDS // 2]:.2f} s)")
    said = _said(captioned.captions)
    _print_figures([[tag for tag, _ in tags[name]] for name in captioned.names], said)
    of_name = dict(zip(captioned.names, said, strict=True))
    rows = [row for row, number in enumerate(numbers.tolist()) if keys[number] in of_name]
    _print_own(tagger, vectors[rows], [of_name[keys[int(numbers[row])]] for row in rows])
    if options.sheet:
        chosen = random.Random(options.seed).sample(sorted(tags), min(options.photos, len(tags)))
        _sheet(options.images, [(name, tags[name]) for name in chosen]).save(options.sheet)


def _tagged_anew(database: Database, model: ModelRecord) -> tuple[list[float], Tagger]:
    seconds = []
    for _ in range(ROUNDS):
        with database.atomic():
            for table in ("calibrations", "descriptions", "tags"):
                database.conn.execute(f"DELETE FROM {table}")
        began = time.perf_counter()
        tagging = PhotoTagging(database, model)
        tagger = tagging.tagger(_never, lambda texts: None)
        tagging.run(tagger, lambda photos: None)
        seconds.append(time.perf_counter() - began)
    return seconds, tagger


def _never() -> NoReturn:
    raise AssertionError("the texts' embeddings are in the cache")


def _said(captions: Sequence[Sequence[str]]) -> list[set[str]]:
    """The tags that each photo's captions name, those of what is broader included."""
    vocabulary = concepts()
    above, mentions = implied(vocabulary), Mentions(vocabulary)
    said = []
    for some in captions:
        named = set().union(*map(mentions, some))
        said.append({vocabulary[place].tag for place in named.union(*(above[one] for one in named))})
    return said


def _print_figures(tags: Sequence[Sequence[str]], said: Sequence[Collection[str]]) -> None:
    vocabulary = concepts()
    above = dict(zip((concept.tag for concept in vocabulary), implied(vocabulary), strict=True))
    broader = {tag: {vocabulary[place].tag for place in places} for tag, places in above.items()}
    narrowest = [[tag for tag in own if not any(tag in broader[other] for other in own)] for own in tags]
    print(f"tags a photo {np.mean([len(own) for own in tags]):.2f}, photos with any {np.mean([*map(bool, tags)]):.0%}")
    for name, some in (("all", tags), ("narrowest", narrowest)):
        right = sum(tag in own for one, own in zip(some, said, strict=True) for tag in one)
        count = sum(map(len, some))
        distinct = len({tag for one in some for tag in one})
        print(f"{name:10} {count / len(tags):.2f} a photo, {distinct} different, {right / count:.1%} named by captions")
    named = {tag for own in said for tag in own if sum(tag in other for other in said) >= NAMED}
    found = [(tag in one, tag in own) for one, own in zip(tags, said, strict=True) for tag in named]
    print(f"of {len(named)} concepts that {NAMED} photos' captions name: {_share(found)}")


def _print_own(tagger: Tagger, vectors: np.ndarray, said: Sequence[Collection[str]]) -> None:
    """What the threshold of own concepts makes of shipped ones that are as narrow as those may be."""
    vocabulary = concepts()
    shares = tagger.shares(vectors)
    narrow = [place for place, texts in enumerate(tagger.lexicon.texts) if len(texts) < 12]
    wanted = {place for place in narrow if sum(vocabulary[place].tag in other for other in said) >= NAMED}
    given = shares >= WANTED * tagger.lexicon.chance
    found = [
        (bool(row[place]), vocabulary[place].tag in one)
        for row, one in zip(given, said, strict=True)
        for place in wanted
    ]
    print(f"were {len(wanted)} narrow ones of them the user's own: {_share(found)}")


def _share(found: Sequence[tuple[bool, bool]]) -> str:
    """Precision and recall of pairs (given, right)."""
    both = sum(given and right for given, right in found)
    given, right = (sum(column) for column in zip(*found, strict=True))
    return f"{both / max(1, given):.1%} of {given} tags are right, {both / max(1, right):.1%} of {right} are given"


def _sheet(folder: Path, photos: Sequence[tuple[str, Sequence[tuple[str, float]]]]) -> Image.Image:
    height = SIDE + 4 * LINE
    page = Image.new("RGB", (COLUMNS * (SIDE + 8), -(-len(photos) // COLUMNS) * height), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    for number, (name, tags) in enumerate(photos):
        left, top = number % COLUMNS * (SIDE + 8), number // COLUMNS * height
        picture = read_photo(folder / name)
        picture.thumbnail((SIDE, SIDE))
        page.paste(picture, (left, top))
        lines = [f"{number + 1}:"]
        for tag, _ in tags:
            if len(lines[-1]) + len(tag) > CHARACTERS:
                lines.append("")
            lines[-1] += f" {tag},"
        for row, line in enumerate(lines[:4]):
            draw.text((left, top + SIDE + row * LINE), line.rstrip(","), fill="black", font=font)
    return page


if __name__ == "__main__":
    main()

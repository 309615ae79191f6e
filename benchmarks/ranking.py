"""What holding back photos that are near to every text gains, and how well the place is chosen where an answer ends.

    python benchmarks/ranking.py captions.json --images photos

The captions, in Karpathy's format, say what the photos show. Asked for are the captions themselves, whose one photo is
to be found (recall), and the tags of Sightline's vocabulary (the cutoff): a photo shows a tag if at least two of its
captions say it, and does not if none does; with one it counts neither way. Tags that no caption says a word of are
asked for too: nothing should be found.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from indexer.report import IndexOptions
from indexer.run import run_index
from search import ranking
from search.background import Background
from search.catalog.connection import connect_to_read
from search.catalog.paths import join
from search.evaluate import read_karpathy, retrieval
from search.home import Home
from search.models.encoder import load_encoder
from search.ranking_settings import RankingSettings
from search.vectors.protocol import Floats
from search.vectors.snapshot import Snapshot, take
from search.vectors.stored import load
from search.vocabulary import concepts

_SILENT = {"a", "an", "and", "in", "of", "on", "the", "with"}
_FEWEST, _LARGEST_PART = 4, 0.25  # photos that show a tag; what most photos show is nothing to search for

Flags = npt.NDArray[np.bool_]


def main() -> None:
    """Print recall with and without the correction, and the cutoff beside the best flat threshold."""
    parser = argparse.ArgumentParser(description="Measure the correction of hubs and the cutoff.")
    parser.add_argument("captions", type=Path, help="captions in Karpathy's format")
    parser.add_argument("--images", type=Path, required=True, help="the folder of their photos")
    parser.add_argument("--model", default="starter", help="the model to measure")
    parser.add_argument("--split", help="only photos of this split")
    options = parser.parse_args()
    captioned = read_karpathy(options.captions, options.images, options.split)
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        run_index(home, [options.images], IndexOptions(model=options.model, captions="off", download=False))
        snapshot, vectors, levels = _indexed(home, [options.images / name for name in captioned.names])
    settings = RankingSettings.read()
    encoder = load_encoder(options.model)
    texts = [text for own in captioned.captions for text in own]
    owners = np.repeat(np.arange(len(captioned.names)), [len(own) for own in captioned.captions])
    asked = encoder.embed_texts(texts)
    print(f"{len(vectors)} photos, {len(texts)} captions, model {options.model}\n")
    tags = {concept.tag: _stems(concept.tag) - _SILENT for concept in concepts()}
    told = [[_stems(caption) for caption in own] for own in captioned.captions]
    said = np.array([[sum(stems <= caption for caption in own) for own in told] for stems in tags.values()])
    heard = set().union(*(caption for own in told for caption in own))
    shown = (said >= 2).sum(axis=1)
    present = np.flatnonzero((shown >= _FEWEST) & (shown <= _LARGEST_PART * len(vectors)))
    absent = np.flatnonzero([not stems & heard for stems in tags.values()])
    names = list(tags)
    similarities = encoder.embed_texts([names[row] for row in (*present, *absent)]) @ vectors.T
    truth, unsure = said[present] >= 2, said[present] == 1
    print(
        "| taken from a photo's similarity | R@1 | R@5 | R@10 | tags: mean average precision |\n|---|---|---|---|---|"
    )
    for weight in (0.0, settings.hub_weight, 0.2, 0.3, 0.5):
        # A photo's level as one more dimension, which every text has: the same sum as in a search.
        corrected = np.c_[vectors, -weight * levels].astype(np.float32)
        found = retrieval(corrected, np.c_[asked, np.ones(len(asked))].astype(np.float32), owners)["text_to_image"]
        precision = _precision(similarities[: len(present)] - weight * levels, truth, unsure)
        print(
            f"| {weight:.1f} of its level | {found['r1']:.1f} | {found['r5']:.1f} | {found['r10']:.1f} |"
            f" {100 * precision:.1f} |"
        )

    scores = similarities - settings.hub_weight * levels
    assert snapshot.background is not None
    ours = np.array([_least(float(row.max()), snapshot.background, settings) for row in scores])
    flat = max(
        (np.full(len(scores), threshold) for threshold in np.quantile(scores, np.linspace(0.5, 0.9999, 400))),
        key=lambda least: _f1(scores[: len(present)], least[: len(present)], truth, unsure),
    )
    print(f"\n{len(present)} tags that some photos show, {len(absent)} that none does\n")
    print(
        "| cutoff | mean F1 | something found where there is | nothing found where there is none |\n|---|---|---|---|"
    )
    among = len(present)
    for name, least in (("best flat threshold, chosen afterwards", flat), ("Sightline's", ours)):
        something: Flags = scores.max(axis=1) >= least
        f1 = _f1(scores[:among], least[:among], truth, unsure)
        there, nothing = something[:among].mean(), 1 - something[among:].mean()
        print(f"| {name} | {100 * f1:.1f} | {100 * there:.0f} % | {100 * nothing:.0f} % |")


def _indexed(home: Home, files: list[Path]) -> tuple[Snapshot, Floats, Floats]:
    """The home's state, and vectors and levels of its photos in the order of `files`."""
    with closing(connect_to_read(home)) as connection:
        snapshot = take(home, connection, None)
        assert snapshot is not None
        keys, vectors, _ = load(connection, snapshot.model.key, snapshot.model.dimensions)
        places = {
            join(folder, name).decode(): key
            for key, folder, name in connection.execute("SELECT photo_key, folder, name FROM files")
        }
    rows = {int(key): row for row, key in enumerate(keys)}
    wanted = [places[str(file.resolve())] for file in files]
    levels = snapshot.levels[np.searchsorted(snapshot.live, wanted)]
    return snapshot, vectors[[rows[key] for key in wanted]], levels


def _least(best: float, library: Background, settings: RankingSettings) -> float:
    there = ranking.is_present(best, library, settings)
    return ranking.least_score(best, library, settings) if there else float("inf")


def _precision(scores: Floats, truth: Flags, unsure: Flags) -> float:
    """Mean average precision, photos that are unsure left out."""
    averages = []
    for row, right, open_question in zip(scores, truth, unsure, strict=True):
        ranked = right[~open_question][np.argsort(-row[~open_question], kind="stable")]
        averages.append((np.cumsum(ranked) / np.arange(1, len(ranked) + 1))[ranked].mean())
    return float(np.mean(averages))


def _f1(scores: Floats, least: Any, truth: Flags, unsure: Flags) -> float:
    kept = (scores >= least[:, None]) & ~unsure
    right = (kept & truth).sum(axis=1)
    return float(np.mean(2 * right / np.maximum(1, kept.sum(axis=1) + truth.sum(axis=1))))


def _stems(text: str) -> set[str]:
    """A text's words, English plurals as singulars."""
    return {re.sub(r"(?<=..)(?<!s)s$|(?<=(?:ch|sh|xe))s$", "", word) for word in re.findall("[a-z]+", text.lower())}


if __name__ == "__main__":
    main()

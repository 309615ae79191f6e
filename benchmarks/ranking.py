"""What the parts of the ranking gain: holding back photos that are near to every text, the place where an answer ends,
and putting words and meaning together.

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
from dataclasses import dataclass, replace
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
from search.evaluate import CaptionedSet, Ranks, ranks_by_similarity, read_karpathy, retrieval, summary
from search.evaluate_answers import answers
from search.home import Home
from search.models.encoder import load_encoder
from search.ranking import RankedList, fuse
from search.ranking_settings import RankingSettings
from search.vectors.protocol import Doubles, Floats
from search.vectors.snapshot import Snapshot, take
from search.vectors.stored import load
from search.vocabulary import concepts

_SILENT = {"a", "an", "and", "in", "of", "on", "the", "with"}
_FEWEST, _LARGEST_PART = 4, 0.25  # photos that show a tag; what most photos show is nothing to search for
_DRAWS = 2000  # of photos, with replacement, for a confidence interval

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Tags:
    """Tags to ask for: those that some photos show, then those that none does; bool[tags that are shown, photos]
    whether a photo shows one, and whether that is unsure."""

    names: list[str]
    truth: Flags
    unsure: Flags


@dataclass(frozen=True)
class Lists:
    """What the signals found for each of some texts, and the place of each photo's key among the photos."""

    found: list[tuple[RankedList, ...]]
    places: dict[int, int]


def main() -> None:
    """Print recall with and without the correction, the cutoff beside the best flat threshold, and the fusion."""
    parser = argparse.ArgumentParser(description="Measure the correction of hubs, the cutoff and the fusion.")
    parser.add_argument("captions", type=Path, help="captions in Karpathy's format")
    parser.add_argument("--images", type=Path, required=True, help="the folder of their photos")
    parser.add_argument("--model", default="starter", help="the model to measure")
    parser.add_argument("--captioner", default="starter", help="who writes the captions in the index")
    parser.add_argument("--split", help="only photos of this split")
    options = parser.parse_args()
    captioned = read_karpathy(options.captions, options.images, options.split)
    settings = RankingSettings.read()
    encoder = load_encoder(options.model)
    texts = [text for own in captioned.captions for text in own]
    owners = np.repeat(np.arange(len(captioned.names)), [len(own) for own in captioned.captions])
    asked = encoder.embed_texts(texts)
    tags = _tags(captioned)
    named = encoder.embed_texts(tags.names)
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        run_index(home, [options.images], IndexOptions(options.model, options.captioner, download=False))
        snapshot, vectors, keys = _indexed(home, [options.images / name for name in captioned.names])
        places = {key: place for place, key in enumerate(keys)}
        among = len(tags.truth)
        with closing(connect_to_read(home)) as connection:
            of_texts = Lists(
                [one.lists for one in answers(connection, snapshot, "hybrid", texts, asked, settings)], places
            )
            shown = answers(connection, snapshot, "hybrid", tags.names[:among], named[:among], settings)
            of_tags = Lists([one.lists for one in shown], places)
    levels = snapshot.levels[np.searchsorted(snapshot.live, keys)]
    print(f"{len(vectors)} photos, {len(texts)} captions, model {options.model}, captions by {options.captioner}\n")
    plain = ranks_by_similarity(vectors, asked, owners)[0]
    _print_hubs(vectors, levels, asked, owners, named[:among] @ vectors.T, tags, settings)
    _print_cutoff(named @ vectors.T - settings.hub_weight * levels, tags, snapshot, settings)
    _print_fusion(of_texts, of_tags, owners, tags, snapshot, plain, settings)


def _tags(captioned: CaptionedSet) -> Tags:
    told = [[_stems(caption) for caption in own] for own in captioned.captions]
    stems = {concept.tag: _stems(concept.tag) - _SILENT for concept in concepts()}
    said = np.array([[sum(one <= caption for caption in own) for own in told] for one in stems.values()])
    heard = set().union(*(caption for own in told for caption in own))
    shown = (said >= 2).sum(axis=1)
    present = np.flatnonzero((shown >= _FEWEST) & (shown <= _LARGEST_PART * len(told)))
    absent = np.flatnonzero([not one & heard for one in stems.values()])
    names = list(stems)
    return Tags([names[row] for row in (*present, *absent)], said[present] >= 2, said[present] == 1)


def _indexed(home: Home, files: list[Path]) -> tuple[Snapshot, Floats, list[int]]:
    """The home's state, and vectors and keys of its photos in the order of `files`."""
    with closing(connect_to_read(home)) as connection:
        snapshot = take(home, connection, None)
        assert snapshot is not None
        keys, vectors, _ = load(connection, snapshot.model.key, snapshot.model.dimensions)
        found = {
            join(folder, name).decode(): key
            for key, folder, name in connection.execute("SELECT photo_key, folder, name FROM files")
        }
    rows = {int(key): row for row, key in enumerate(keys)}
    wanted = [found[str(file.resolve())] for file in files]
    return snapshot, vectors[[rows[key] for key in wanted]], wanted


def _print_hubs(
    vectors: Floats,
    levels: Floats,
    asked: Floats,
    owners: Ranks,
    similarities: Floats,
    tags: Tags,
    settings: RankingSettings,
) -> None:
    print(
        "| taken from a photo's similarity | R@1 | R@5 | R@10 | tags: mean average precision |\n|---|---|---|---|---|"
    )
    for weight in sorted({0.0, settings.hub_weight, 0.1, 0.2, 0.3, 0.5}):
        # A photo's level as one more dimension, which every text has: the same sum as in a search.
        corrected = np.c_[vectors, -weight * levels].astype(np.float32)
        found = retrieval(corrected, np.c_[asked, np.ones(len(asked))].astype(np.float32), owners)["text_to_image"]
        precision = 100 * _precisions(similarities - weight * levels, tags).mean()
        print(f"| {weight:g} of its level | {_recalls(found)} | {precision:.1f} |")


def _print_cutoff(scores: Floats, tags: Tags, snapshot: Snapshot, settings: RankingSettings) -> None:
    among = len(tags.truth)
    assert snapshot.background is not None
    ours = np.array([_least(float(row.max()), snapshot.background, settings) for row in scores])
    flat = max(
        (np.full(len(scores), threshold) for threshold in np.quantile(scores, np.linspace(0.5, 0.9999, 400))),
        key=lambda least: _f1(scores[:among], least[:among], tags),
    )
    print(f"\n{among} tags that some photos show, {len(scores) - among} that none does\n")
    print(
        "| cutoff | mean F1 | something found where there is | nothing found where there is none |\n|---|---|---|---|"
    )
    for name, least in (("best flat threshold, chosen afterwards", flat), ("Sightline's", ours)):
        something: Flags = scores.max(axis=1) >= least
        f1 = _f1(scores[:among], least[:among], tags)
        there, nothing = something[:among].mean(), 1 - something[among:].mean()
        print(f"| {name} | {100 * f1:.1f} | {100 * there:.0f} % | {100 * nothing:.0f} % |")


def _print_fusion(
    of_texts: Lists,
    of_tags: Lists,
    owners: Ranks,
    tags: Tags,
    snapshot: Snapshot,
    plain: Ranks,
    settings: RankingSettings,
) -> None:
    """One value of the fusion at a time, the others as they are; `plain` are the ranks by the model's cosine."""
    assert snapshot.background is not None
    spread = snapshot.background.spread
    silent = {"literal_weight": 0.0, "all_words_weight": 0.0, "some_words_weight": 0.0}
    rows: list[tuple[str, dict[str, float]]] = [
        ("meaning alone", silent),
        ("words alone", {"meaning_weight": 0.0}),
        ("**together**", {}),
        ("plain ranks", {"same_score": 0.0}),
        *((f"same score within {value:g} spreads", {"same_score": value}) for value in (0.15, 0.6)),
        *((f"some words {value:g}", {"some_words_weight": value}) for value in (0.0, 0.1, 0.2, 0.3)),
        *((f"all words {value:g}", {"all_words_weight": value}) for value in (0.0, 0.2, 1.0)),
        *((f"constant {value:g}", {"fusion_constant": value}) for value in (5.0, 20.0, 60.0)),
    ]
    print(
        "\n| fusion | R@1 | R@5 | R@10 | mean rank | tags: mean average precision |\n|---|---|---|---|---|---|\n"
        f"| the model's cosine alone | {_recalls(summary(plain))} | {plain.mean():.1f} | |"
    )
    ranks, precisions = {}, {}
    for name, changed in rows:
        values = settings.model_copy(update=changed)
        ranks[name] = _ranks(_fused(of_texts, values, spread), owners)
        precisions[name] = _precisions(_fused(of_tags, values, spread), tags)
        print(
            f"| {name} | {_recalls(summary(ranks[name]))} | {ranks[name].mean():.1f} |"
            f" {100 * precisions[name].mean():.1f} |"
        )
    print("\ntogether, gained against the model's cosine alone; in brackets 95 % of photos, or tags, drawn anew:")
    for k in (1, 5, 10):
        gained = (ranks["**together**"] <= k).astype(np.float64) - (plain <= k)
        print(f"R@{k} {_interval(np.asarray(np.bincount(owners, gained), np.float64), np.bincount(owners))}")
    gained = precisions["**together**"] - precisions["meaning alone"]
    print(f"tags, against meaning alone: {_interval(gained, np.ones(len(gained)))}")


def _fused(lists: Lists, settings: RankingSettings, spread: float) -> Doubles:
    """The score of each photo for each text; 0 where nothing found it."""
    scores = np.zeros((len(lists.found), len(lists.places)))
    for row, found in zip(scores, lists.found, strict=True):
        keys, earned = fuse(
            [replace(one, tolerance=settings.same_score * spread if one.kind == "meaning" else 0.0) for one in found],
            settings,
        )
        for key, score in zip(keys.tolist(), earned, strict=True):
            if key in lists.places:
                row[lists.places[key]] = score
    return scores


def _ranks(scores: Doubles, owners: Ranks) -> Ranks:
    """The rank of each text's photo, ties and what is not found counted against it."""
    own = scores[np.arange(len(scores)), owners]
    return np.asarray((scores >= own[:, None]).sum(axis=1), np.int64)


def _interval(sums: Doubles, counts: Floats | Doubles | Ranks) -> str:
    """What was gained in per cent, with a paired bootstrap over what has these sums and counts of gains."""
    drawn = np.random.default_rng(0).integers(0, len(sums), (_DRAWS, len(sums)))
    low, high = np.quantile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), (0.025, 0.975))
    return f"{100 * sums.sum() / counts.sum():+.2f} ({100 * low:+.2f} to {100 * high:+.2f})"


def _recalls(found: dict[str, float]) -> str:
    return " | ".join(f"{found[name]:.1f}" for name in ("r1", "r5", "r10"))


def _least(best: float, library: Background, settings: RankingSettings) -> float:
    there = ranking.is_present(best, library, settings)
    return ranking.least_score(best, library, settings) if there else float("inf")


def _precisions(scores: Floats | Doubles, tags: Tags) -> Doubles:
    """The average precision of each tag, photos that are unsure left out."""
    averages = []
    for row, right, open_question in zip(scores, tags.truth, tags.unsure, strict=True):
        ranked = right[~open_question][np.argsort(-row[~open_question], kind="stable")]
        averages.append((np.cumsum(ranked) / np.arange(1, len(ranked) + 1))[ranked].mean())
    return np.asarray(averages, np.float64)


def _f1(scores: Floats, least: Any, tags: Tags) -> float:
    kept = (scores >= least[:, None]) & ~tags.unsure
    right = (kept & tags.truth).sum(axis=1)
    return float(np.mean(2 * right / np.maximum(1, kept.sum(axis=1) + tags.truth.sum(axis=1))))


def _stems(text: str) -> set[str]:
    """A text's words, English plurals as singulars."""
    return {re.sub(r"(?<=..)(?<!s)s$|(?<=(?:ch|sh|xe))s$", "", word) for word in re.findall("[a-z]+", text.lower())}


if __name__ == "__main__":
    main()

"""Measuring on captioned or labelled photos: they are indexed in a throw-away home, as any library is."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from indexer.progress import Progress, Silent
from indexer.report import IndexOptions
from indexer.run import run_index
from search import caption_metrics
from search.catalog import words
from search.catalog.connection import connect_to_read
from search.catalog.words import PERSON
from search.errors import SightlineError
from search.evaluate import CaptionedSet, Ranks, ranks_by_similarity, read_karpathy, recall_curve, summary
from search.evaluate_answers import ranks_of_photos, ranks_of_texts
from search.evaluate_tags import plain, tag_figures
from search.home import Home
from search.models.encoder import load_encoder
from search.models.names import AUTO
from search.ranking_settings import RankingSettings
from search.vectors import stored
from search.vectors.protocol import Floats
from search.vectors.snapshot import Snapshot, take
from search.vocabulary import concepts

MODES = ("meaning", "words", "hybrid")
DEEPEST = 100
"""Recall curves end here."""
_WAYS = ("text_to_image", "image_to_text")

Advance = Callable[[int], None]


@dataclass(frozen=True)
class Evaluation:
    """What was measured: `document` is the contract of `sightline eval --json`; `curves`, for each mode and way, recall
    in per cent at 1, 2, … as deep as there are photos or texts, `DEEPEST` at most."""

    document: dict[str, Any]
    curves: dict[str, dict[str, list[float]]]


@dataclass(frozen=True)
class _Indexed:
    """Photos of a captioned set in a throw-away home: of each that could be read, its key, its embedding
    (float32[n, d]), its captioner's caption or None, its tags, and what people wrote."""

    connection: sqlite3.Connection
    snapshot: Snapshot
    keys: list[int]
    pictures: Floats
    written: list[str | None]
    tags: list[list[str]]
    references: list[tuple[str, ...]]


def evaluate(
    file: Path,
    images: Path,
    *,
    model: str | None = None,
    modes: Sequence[str] = ("meaning",),
    captions: str = "starter",
    split: str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Evaluation:
    """Index the photos of `file` and find them by their captions, and the captions by the photos, in each of `modes`.

    Captions by the captioner named `captions` stand in the index; `file`'s own never do, nor names of files. Nothing is
    downloaded.

    Raises:
        SightlineError: the captions or all of the photos cannot be read, or the model or captioner cannot be loaded.
    """
    progress = progress or Silent()
    captioned = read_karpathy(file, images, split)
    options = IndexOptions(model=model, captions=captions, device=device, download=False, ocr=False)
    with _indexed(captioned, images, options, progress) as found:
        texts = [text for own in found.references for text in own]
        owners = np.repeat(np.arange(len(found.keys)), [len(own) for own in found.references])
        vectors = load_encoder(found.snapshot.model.name, device=device).embed_texts(texts)
        ranking = RankingSettings.read()
        ranks = {mode: _ranks(mode, found, texts, vectors, owners, ranking, progress) for mode in modes}
        figures = {
            mode: {way: summary(one) for way, one in zip(_WAYS, both, strict=True)} for mode, both in ranks.items()
        }
        deepest = {"text_to_image": len(found.keys), "image_to_text": len(texts)}
        document = {
            "model": _named(model, found.snapshot.model.name),
            "mode": modes[-1],
            "captioner": captions,
            "split": split,
            "photos": len(found.keys),
            "texts": len(texts),
            **figures[modes[-1]],
            "modes": figures,
            "captions": _caption_figures(found),
        }
    curves = {
        mode: {way: recall_curve(one, min(DEEPEST, deepest[way])) for way, one in zip(_WAYS, both, strict=True)}
        for mode, both in ranks.items()
    }
    return Evaluation(document, curves)


def evaluate_tags(
    folder: Path, *, model: str | None = None, device: str = "auto", progress: Progress | None = None
) -> dict[str, Any]:
    """Index `folder`, in which each folder is named for what its photos show, and compare their tags with the names:
    `model`, and `tags` as of `search.evaluate_tags.tag_figures`.

    Raises:
        SightlineError: it has no folders with photos that can be read, or the model cannot be loaded.
    """
    options = IndexOptions(model=model, captions="off", device=device, download=False, ocr=False)
    with tempfile.TemporaryDirectory(prefix="sightline-eval-") as place:
        home = Home(Path(place))
        report = run_index(home, [folder], options, progress)
        with closing(connect_to_read(home)) as connection:
            return {"model": _named(model, report.model), "tags": labelled_figures(connection, folder)}


def labelled_figures(connection: sqlite3.Connection, folder: Path) -> dict[str, Any]:
    """`search.evaluate_tags.tag_figures` of the photos below the folders in `folder`, as they are tagged in a catalog.

    Raises:
        SightlineError: it has no folders with photos.
    """
    root = os.fsencode(os.path.realpath(folder))
    labels: dict[int, str] = {}
    for key, place in connection.execute(
        "SELECT photo_key, folder FROM files WHERE photo_key IS NOT NULL ORDER BY key"
    ):
        below = os.path.relpath(place, root).split(os.fsencode(os.sep))[0]
        if below not in (b".", b".."):
            labels.setdefault(key, os.fsdecode(below))
    if not labels:
        raise SightlineError(f"{folder} has no folders with photos; each folder's name says what its photos show.")
    tags = _tags(connection)
    named = [(name.casefold(), concept.tag) for concept in concepts() for name in concept.words]
    names = {form: tag for name, tag in named for form in words.name_forms(name)}
    names |= dict(named)  # some plurals are tags of their own
    return tag_figures(
        [names.get(plain(label), label) for label in labels.values()],
        [tags.get(key, []) for key in labels],
        {*names.values()}.union(*tags.values()),
    )


def _named(asked: str | None, used: str) -> str:
    """The model as it was asked for: a folder's path is nobody's business."""
    return used if asked in (None, AUTO) else str(asked)


@contextmanager
def _indexed(captioned: CaptionedSet, images: Path, options: IndexOptions, progress: Progress) -> Iterator[_Indexed]:
    with tempfile.TemporaryDirectory(prefix="sightline-eval-") as folder:
        photos, home = Path(folder) / "photos", Home(Path(folder) / "home")
        photos.mkdir()
        # Under numbers for names, since names are among the words and could say what the captions say.
        names = [f"{place:07}{Path(name).suffix}" for place, name in enumerate(captioned.names)]
        for name, link in zip(captioned.names, names, strict=True):
            _lay(images / name, photos / link)
        run_index(home, [photos], options, progress)
        with closing(connect_to_read(home)) as connection:
            snapshot = take(home, connection, None)
            keys = dict(connection.execute("SELECT name, photo_key FROM files WHERE photo_key IS NOT NULL"))
            places = [place for place, name in enumerate(names) if os.fsencode(name) in keys]
            if snapshot is None or not places:
                raise SightlineError(f"None of the captioned photos in {images} could be read.")
            own = [keys[os.fsencode(names[place])] for place in places]
            embedded, vectors, _ = stored.load(connection, snapshot.model.key, snapshot.model.dimensions)
            rows = {int(key): row for row, key in enumerate(embedded)}
            captions = dict(connection.execute("SELECT photo_key, text FROM captions WHERE author != ?", (PERSON,)))
            tags = _tags(connection)
            yield _Indexed(
                connection,
                snapshot,
                own,
                vectors[[rows[key] for key in own]],
                [captions.get(key) for key in own],
                [tags.get(key, []) for key in own],
                [captioned.captions[place] for place in places],
            )


def _lay(file: Path, place: Path) -> None:
    try:
        place.symlink_to(file.resolve())
    except OSError:  # a file system, or a Windows account, without links
        shutil.copyfile(file, place)


def _tags(connection: sqlite3.Connection) -> dict[int, list[str]]:
    """Each tagged photo's tags."""
    found: dict[int, list[str]] = {}
    for key, tag in connection.execute("SELECT photo_key, tag FROM tags ORDER BY photo_key, score DESC, tag"):
        found.setdefault(key, []).append(tag)
    return found


def _ranks(
    mode: str,
    found: _Indexed,
    texts: list[str],
    vectors: Floats,
    owners: Ranks,
    ranking: RankingSettings,
    progress: Progress,
) -> tuple[Ranks, Ranks]:
    """The ranks of the photos that the texts are of, and of the texts that are the photos'."""
    if mode == "meaning":
        return ranks_by_similarity(found.pictures, vectors, owners)

    def told(name: str, total: int) -> Advance:
        progress.stage(name, total)
        return lambda done: progress.advance(done, 0)

    keys = [found.keys[owner] for owner in owners]
    of_photos = ranks_of_photos(
        found.connection, found.snapshot, mode, texts, vectors, keys, ranking, told("ask", len(texts))
    )
    described = [" ".join([caption or "", *tags]) for caption, tags in zip(found.written, found.tags, strict=True)]
    of_texts = ranks_of_texts(
        found.snapshot,
        mode,
        texts,
        vectors,
        owners,
        described,
        found.pictures,
        ranking,
        told("ask", len(described)),
    )
    return of_photos, of_texts


def _caption_figures(found: _Indexed) -> dict[str, Any] | None:
    """How near the captioner's captions come to people's; None where there are none."""
    pairs = [
        (caption, own) for caption, own in zip(found.written, found.references, strict=True) if caption is not None
    ]
    if not pairs:
        return None
    captions, references = [caption for caption, _ in pairs], [own for _, own in pairs]
    bleu = {f"bleu{n}": round(value, 2) for n, value in enumerate(caption_metrics.bleu(captions, references), start=1)}
    return {
        **bleu,
        "meteor": round(caption_metrics.meteor(captions, references), 2),
        "rouge_l": round(caption_metrics.rouge_l(captions, references), 2),
        "cider": round(caption_metrics.cider(captions, references), 4),
        "distinct": len(set(captions)),
        "photos": len(captions),
    }

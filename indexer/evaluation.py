"""Measuring a model on a captioned set: its photos are indexed in a throw-away home, as any library is."""

from __future__ import annotations

import os
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from indexer.progress import Progress
from indexer.report import IndexOptions
from indexer.run import run_index
from search.catalog import model_records
from search.catalog.connection import connect_to_read
from search.catalog.paths import join
from search.errors import SightlineError
from search.evaluate import read_karpathy, retrieval
from search.home import Home
from search.models.encoder import load_encoder
from search.vectors import stored
from search.vectors.protocol import Floats


def evaluate(
    file: Path,
    images: Path,
    *,
    model: str | None = None,
    split: str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Index the folder `images` and find its photos by the captions in `file`: the contract of `sightline eval --json`.

    Nothing is downloaded.

    Raises:
        SightlineError: the captions or all of the photos cannot be read, or the model cannot be loaded.
    """
    captioned = read_karpathy(file, images, split)
    options = IndexOptions(model=model, captions="off", device=device, download=False)
    with tempfile.TemporaryDirectory(prefix="sightline-eval-") as folder:
        home = Home(Path(folder))
        report = run_index(home, [images], options, progress)
        rows, vectors = _vectors_by_path(home)
    places = [os.path.join(os.path.realpath(images), name) for name in captioned.names]
    present = [i for i, place in enumerate(places) if place in rows]
    if not present:
        raise SightlineError(f"None of the captioned photos in {images} could be read.")
    texts = [text for i in present for text in captioned.captions[i]]
    owners = np.repeat(np.arange(len(present)), [len(captioned.captions[i]) for i in present])
    encoder = load_encoder(report.model, device=device)
    pictures = vectors[[rows[places[i]] for i in present]]
    return {
        "model": report.model,
        "mode": "meaning",
        "photos": len(present),
        "texts": len(texts),
        **retrieval(pictures, encoder.embed_texts(texts), owners),
        "captions": None,
    }


def _vectors_by_path(home: Home) -> tuple[dict[str, int], Floats]:
    """Rows of a matrix of embeddings, float32[n, d], by the path of the file."""
    with closing(connect_to_read(home)) as connection:
        model = model_records.active(connection)
        if model is None:
            raise SightlineError("No photo could be read.")
        keys, vectors, _ = stored.load(connection, model.key, model.dimensions)
        rows = {int(key): row for row, key in enumerate(keys)}
        files = connection.execute("SELECT folder, name, photo_key FROM files WHERE photo_key IS NOT NULL")
        return {os.fsdecode(join(folder, name)): rows[key] for folder, name, key in files}, vectors

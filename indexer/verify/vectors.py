"""Models and what was published of their embeddings: whether each generation is whole, and of this catalog."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

import numpy as np

from indexer.verify import embeddings
from indexer.verify.findings import Finding, Mending, View, listed
from indexer.verify.folders import delete, displaced, is_displaced
from indexer.verify.published import replace_generation
from search.catalog import model_records, settings
from search.catalog.connection import connect_to_read
from search.catalog.model_records import ModelRecord
from search.vectors import generations
from search.vectors.generations import Generation


def look(view: View) -> Iterator[Finding]:
    """What is wrong with embeddings and generations."""
    if is_displaced(view.home.vectors_dir):
        # Generations may be there again with the disk that a link leads to.
        yield displaced("generation", view.home.vectors_dir)
        return
    for model in model_records.every(view.connection):
        dimensions = _dimensions(view, model)
        if dimensions != model.dimensions:
            what = (
                f"The embeddings of {model.name} have {dimensions} dimensions, and the catalog says {model.dimensions}."
            )
            yield Finding("models", what, _put_dimensions(model.key, dimensions), about=model.name)
            model = replace(model, dimensions=dimensions)
        whole, damaged = _generations(view, model)
        yield from damaged
        yield from embeddings.look(view, model, whole[0] if whole else None)
    yield from _leftovers(view)


def _dimensions(view: View, model: ModelRecord) -> int:
    """Those that most of the model's embeddings have."""
    row = view.connection.execute(
        "SELECT length(vector) FROM embeddings WHERE model_key = ? GROUP BY 1 ORDER BY count(*) DESC LIMIT 1",
        (model.key,),
    ).fetchone()
    return row[0] // 2 if row and row[0] else model.dimensions


def _put_dimensions(model: int, dimensions: int) -> Callable[[Mending], None]:
    def mend(mending: Mending) -> None:
        with mending.transaction():
            mending.connection.execute("UPDATE models SET dimensions = ? WHERE key = ?", (dimensions, model))
            settings.grow_revision(mending.connection)

    return mend


def _generations(view: View, model: ModelRecord) -> tuple[list[Generation], list[Finding]]:
    """The generations of a model that are whole, the newest first, and what is wrong with the others."""
    whole, damaged = [], []
    for generation in generations.of_model(view.connection, model.key):
        view.checked["generations"] += 1
        view.progress.stage("generations", None)
        if generations.is_remote(generation):
            continue  # see `indexer.verify.milvus`
        reason = _damage(view, generation)
        if reason is None:
            whole.append(generation)
        elif _is_still_named(view, generation):
            what = f"Generation {generation.key} of {model.name} is damaged: {reason}."
            damaged.append(
                Finding("generation", what, replace_generation(model, generation), about=str(generation.key))
            )
    return whole, damaged


def _damage(view: View, generation: Generation) -> str | None:
    folder = view.home.vectors_dir / generation.folder
    if not generation.checksums:
        return "its row in the catalog cannot be"
    if not folder.is_dir():
        return f"{folder} is not there"
    missing = [name for name in generation.checksums if not (folder / name).is_file()]
    if missing:
        return f"{listed(missing, len(missing))} is not in {folder}"
    if not generations.is_whole(view.home, generation):
        return f"files in {folder} are not what was published"
    try:
        keys = np.load(folder / "keys.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return None  # of another kind of index
    return None if len(keys) == generation.photos else "it has not as many photos as the catalog says"


def _is_still_named(view: View, generation: Generation) -> bool:
    """Whether the catalog names it at this moment: a run may have published two more since, and deleted it."""
    with closing(connect_to_read(view.home)) as connection:
        return connection.execute("SELECT 1 FROM generations WHERE key = ?", (generation.key,)).fetchone() is not None


def _leftovers(view: View) -> Iterator[Finding]:
    """What lies among the generations and no row names."""
    found = generations.unnamed(view.home, view.connection)
    if not found or view.is_busy():
        return  # it may be a run's that is at work
    # One may have been published since the catalog was opened.
    with closing(connect_to_read(view.home)) as connection:
        found = [path for path in generations.unnamed(view.home, connection) if path in found]
    if found:
        yield Finding(
            "leftovers",
            f"Among the generations lies what none is: {listed([path.name for path in found], len(found))}.",
            lambda mending: delete(found),
            about="vectors",
        )

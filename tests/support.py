"""Real photos, small pictures made on the spot, and small checkpoints in the real format."""

from __future__ import annotations

import io
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import open_clip
import pytest
import skimage
import sklearn.datasets
import torch
from PIL import Image
from safetensors.torch import save_file

from indexer.pixels import DecodingRoom
from search.catalog import model_records
from search.catalog.model_records import ModelRecord

TINY: dict[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
PREPROCESS: dict[str, Any] = {"interpolation": "bicubic", "resize_mode": "shortest"}


def photo_files() -> list[Path]:
    """Colour photographs that installed packages carry, and those of the development set where it lies near."""
    science = Path(skimage.__file__).parent / "data"
    names = (
        "astronaut.png",
        "chelsea.png",
        "coffee.png",
        "rocket.jpg",
        "motorcycle_left.png",
        "hubble_deep_field.jpg",
    )
    files = [science / name for name in (*names, "hubble_deep_field.jpg", "ihc.png", "retina.jpg", "color.png")]
    files += [Path(sklearn.datasets.__file__).parent / "images" / name for name in ("china.jpg", "flower.jpg")]
    files.append(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg")
    development = Path(__file__).resolve().parents[2] / "shared" / "flickr8k-dev" / "photos"
    return [file for file in files if file.exists()] + sorted(development.glob("*.jpg"))[::25]


def photos() -> list[Image.Image]:
    """`photo_files`, decoded in full to RGB."""
    return [Image.open(file).convert("RGB") for file in photo_files()]


def jpegs(shortest: tuple[int, ...] = (650, 1000)) -> list[bytes]:
    """Photos as JPEG files whose shorter side has so many pixels, so that draft decoding leaves much out."""
    files = []
    for image in photos()[:24]:
        for side in shortest:
            scale = side / min(image.size)
            buffer = io.BytesIO()
            size = (round(image.width * scale), round(image.height * scale))
            image.resize(size, Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=90)
            files.append(buffer.getvalue())
    return files


def picture(path: Path | bytes, seed: int, size: tuple[int, int] = (64, 48)) -> None:
    """Write a small JPEG whose content depends on `seed` alone; see `written_a_moment_ago`."""
    colours = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    with open(path, "wb") as file:
        Image.fromarray(colours).resize(size, Image.Resampling.BICUBIC).save(file, "JPEG")
    written_a_moment_ago(path)


def written_a_moment_ago(path: Path | bytes) -> None:
    """Let a file look as if it had been: the next run reads what was written just now, and the one after it again."""
    written = os.stat(path)
    os.utime(path, ns=(written.st_atime_ns, written.st_mtime_ns - 50_000_000))


def save_checkpoint(
    folder: Path, config: dict[str, Any] = TINY, preprocess: dict[str, Any] = PREPROCESS, seed: int = 0
) -> str:
    """Write a model with random weights as open_clip's `local-dir:` layout; returns its name."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {"model_cfg": config, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(document))
    torch.manual_seed(seed)
    # Made by the class itself, since open_clip.create_model would look for the weights that are yet to be written.
    arguments = {key: value for key, value in config.items() if key != "custom_text"}
    kind = open_clip.CustomTextCLIP if config.get("custom_text") else open_clip.CLIP
    network = kind(**arguments)
    weights = {key: value.contiguous() for key, value in network.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    return f"local-dir:{folder}"


_UNDONE = {
    7: (
        *(
            f"DROP TRIGGER {table}_{event}"
            for table in ("photos", "files")
            for event in ("inserted", "updated", "deleted")
        ),
        "DROP TABLE changelog",
    ),
    6: (
        "DROP INDEX files_missing",
        "ALTER TABLE files DROP COLUMN missing_at",
        "ALTER TABLE libraries DROP COLUMN offline",
        "ALTER TABLE models DROP COLUMN left_at",
        "ALTER TABLE jobs DROP COLUMN user",
        "ALTER TABLE jobs DROP COLUMN cause",
    ),
    5: (
        "DROP TABLE dismissals",
        "DROP INDEX files_failed",
        "DROP INDEX descriptions_failed",
        "DELETE FROM settings WHERE name = 'words_state'",
        "DELETE FROM settings WHERE name = 'dismissals'",
        "ALTER TABLE photos DROP COLUMN preview",
        "ALTER TABLE photos DROP COLUMN perceptual_hash",
    ),
    4: ("DROP TABLE searches",),
    3: ("DROP TABLE calibrations", "DROP TABLE tag_names", "ALTER TABLE photos DROP COLUMN flatness"),
}


def active_model(connection: sqlite3.Connection, dimensions: int) -> ModelRecord:
    """A model without weights that answers, for embeddings that a test makes; in the caller's transaction."""
    model = model_records.register(
        connection,
        name="m",
        weights="f" * 16,
        preprocessing="p",
        precision="auto",
        dimensions=dimensions,
        logit_scale=100.0,
        logit_bias=None,
    )
    model_records.activate(connection, model.key)
    return model


def entity(key: int, vector: np.ndarray[Any, Any], **fields: object) -> dict[str, Any]:
    """A row for a collection in Milvus that says nothing of its photo but what a test gives."""
    texts = (
        "id digest sort_at taken_at format kind camera folders folders_lowered parts caption details words said written"
        " tags called"
    )
    empty: dict[str, Any] = dict.fromkeys(texts.split(), "") | dict.fromkeys(("day", "shape", "width", "height"), 0)
    return {**empty, "apart": [], "level": 0.0, **fields, "key": key, "vector": vector}


def as_version(catalog: Path, version: int, *further: str) -> None:
    """Make a catalog what a Sightline of an earlier schema would have left; `further` statements besides."""
    undone = [step for step in _UNDONE if step > version]
    statements = [statement for step in undone for statement in _UNDONE[step]]
    statements += [f"DELETE FROM _sqlite_migrations WHERE name = '{step:04}'" for step in undone]
    with closing(sqlite3.connect(catalog)) as connection:
        for statement in (*statements, *further, f"PRAGMA user_version = {version}"):
            connection.execute(statement)
        connection.commit()


class CountedRoom(DecodingRoom):
    """Room that lets in one at a time, and counts: how many hold some now, and what they asked for."""

    def __init__(self) -> None:
        super().__init__(1)
        self.held = 0
        self.sizes: list[int] = []

    @contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        """Hold room, and be counted."""
        with super().taken(pixels):
            self.sizes.append(pixels)
            self.held += 1
            try:
                yield
            finally:
                self.held -= 1


@contextmanager
def small_file_room(monkeypatch: pytest.MonkeyPatch) -> Iterator[CountedRoom]:
    """Each file counts as a large one inside, and there is room for one."""
    room = CountedRoom()
    with monkeypatch.context() as patch:
        patch.setattr("indexer.files.LARGE", 0)
        patch.setattr("indexer.files._file_room", lambda: room)
        yield room

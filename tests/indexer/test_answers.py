"""Nothing that a process that decodes answers is believed: what cannot be costs the photo, and the run goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hostile_tasks as hostile
import pytest
from test_hostile_pictures import encoded, noise

from indexer.decoding.answers import Answer, MeasuredPhoto, measured_photo, size_of
from indexer.decoding.decoders import Decoders, measured
from indexer.decoding.pool import Pool
from indexer.decoding.settings import DecodingSettings
from indexer.exif import NO_EXIF
from search.errors import PhotoError
from search.models.preprocess import Preprocess

PREPROCESS = Preprocess((32, 32), "shortest", "bicubic", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
SOUND = encoded(noise(), "PNG")
EXIF: dict[str, Any] = vars(NO_EXIF)
FIELDS: dict[str, Any] = {
    "full_size": [40, 30],
    "format": "JPEG",
    "exif": EXIF,
    "flatness": 0.5,
    "preview": "00" * 36,
    "perceptual_hash": 2**63 - 1,
    "ready": True,
    "size": [2, 1],
}

NONSENSE = "decoding it crashed (it answered nonsense)"


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    """One process, in which a photo can have any answer given."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(hostile.__file__).parent))
        pool = Pool(1, DecodingSettings(), tasks="hostile_tasks")
        yield Decoders(pool)
        pool.close()


def answered(**changed: Any) -> MeasuredPhoto | PhotoError:
    return measured_photo(Answer({**FIELDS, **changed}, bytes(6)))


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"flatness": 1},
        {"perceptual_hash": 0},
        {
            "exif": {
                **EXIF,
                "taken_at": "2021-06-30T18:04:11+14:00",
                "camera": "Kamera \U0001f4f7 \u00ad",
                "lens": "x" * 200,
            }
        },
        {"exif": {**EXIF, "latitude": -90.0, "longitude": 180.0, "orientation": 8}},
    ],
)
def test_what_can_be_is_taken(changed: dict[str, Any]) -> None:
    found = answered(**changed)
    assert isinstance(found, MeasuredPhoto)
    assert found.exif.__dict__ == changed.get("exif", EXIF) and found.pixels.shape == (1, 2, 3)


@pytest.mark.parametrize(
    "changed",
    [
        {"perceptual_hash": 10**40},
        {"perceptual_hash": -1},
        {"perceptual_hash": 1.5},
        {"perceptual_hash": True},
        {"full_size": [2**70, 1]},
        {"full_size": [0, 1]},
        {"full_size": 3},
        {"format": "EXE"},
        {"format": ["JPEG"]},
        {"flatness": float("nan")},
        {"flatness": float("inf")},
        {"flatness": -0.1},
        {"flatness": "0.5"},
        {"preview": "00"},
        {"preview": "zz" * 36},
        {"preview": 5},
        {"size": [-2, -1]},
        {"size": [3, 1]},
        {"exif": None},
        {"exif": {"surprise": 1}},
        *(
            {"exif": {**EXIF, **wrong}}
            for wrong in (
                {"camera": "\ud800"},
                {"camera": ["a"]},
                {"camera": ""},
                {"camera": "a\nb"},
                {"lens": "x" * 201},
                {"taken_at": 5},
                {"taken_at": "yesterday"},
                {"taken_at": "2021-02-31T00:00:00"},
                {"taken_at": "2021-06-30T18:04:11+99:00"},
                {"latitude": 91.0, "longitude": 0.0},
                {"latitude": 1.0},
                {"latitude": float("nan"), "longitude": 0.0},
                {"orientation": 9},
                {"orientation": "1"},
            )
        ),
    ],
)
def test_what_cannot_be_is_a_crash(changed: dict[str, Any]) -> None:
    said = answered(**changed)
    assert isinstance(said, PhotoError) and str(said) == NONSENSE


def test_pixels_of_no_size_are_none() -> None:
    with pytest.raises(PhotoError, match="answered nonsense"):
        size_of(Answer({"size": [-2, -1]}, bytes(6)))


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"perceptual_hash": 10**40}, NONSENSE),
        ({"exif": {"camera": "\ud800"}}, NONSENSE),
        ({"flatness": float("nan")}, NONSENSE),
        ({"error": "it is\n\ud800 odd"}, "it is ? odd"),
    ],
)
def test_it_costs_no_other_photo(decoders: Decoders, said: dict[str, Any], sentence: str) -> None:
    with decoders.worker() as worker:
        found = measured(worker, [SOUND, SOUND + hostile.SAYING + json.dumps(said).encode(), SOUND], PREPROCESS)
    assert [str(one) if isinstance(one, PhotoError) else None for one in found] == [None, sentence, None]

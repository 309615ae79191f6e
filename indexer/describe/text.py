"""Text in pictures (OCR): RapidOCR finds the lines of a photo and reads them.

RapidOCR runs the PP-OCRv6 models, which its wheel carries, on ONNX Runtime. It comes with the extra `ocr`, and never
asks the network for anything here, since every model is named by the file that it lies in.

    >>> reader = load_text_reader(threads=1)
    >>> reader.read(read_photo("car.jpg"))
    [TextLine(text='RE16 TGK', box=(0.4123, 0.6410, 0.5527, 0.6902), confidence=0.9971)]
"""

from __future__ import annotations

import importlib.util
import math
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

from PIL import Image

from indexer.pixels import free_memory, to_rgb
from search.catalog.descriptions import TextLine
from search.errors import PhotoError, PhotoMemoryError, SightlineError

READER = "rapidocr:PP-OCRv6_small"
"""What is stored with what was read: the models, which read alike in every release that carries them."""
DRAFT_SIZE = (1225, 1225)
"""What `indexer.read.decode` may draft a photo to: more pixels than these are not looked at."""
# At 1.5 megapixels, nearly all words on signs are read whose letters have 0.5 % of the photo's longer side; twice as
# many take twice the time to gain a few (docs/text-in-pictures.md). An area, so that long screenshots stay legible.
_PIXELS = DRAFT_SIZE[0] * DRAFT_SIZE[1]
_LONGEST = 16_000  # OpenCV warps no picture of 32,768 pixels or more on a side
_SHORTEST = 8  # a line that is less high cannot be read
# Small photos are enlarged to this, since the models were trained on letters of some size.
_ENLARGED_SHORTER_SIDE = 736
_MOST_ENLARGED = 3.0
# What is read into twigs and patterns has less confidence, above all single characters.
_MIN_CONFIDENCE, _MIN_CONFIDENCE_ALONE = 0.7, 0.9
_BYTES_A_THREAD = 500_000_000  # what ONNX Runtime keeps for a picture of so many pixels
_MAX_LINES = 500
_MAX_CHARACTERS = 10_000
_MODELS = {
    "Det": "PP-OCRv6_det_small.onnx",
    "Rec": "PP-OCRv6_rec_small.onnx",
    "Cls": "ch_ppocr_mobile_v2.0_cls_mobile.onnx",
}


def threads_that_fit() -> int:
    """How many threads may read side by side: one a core, in half of the memory that is free now; one at least."""
    return max(1, min(os.cpu_count() or 1, free_memory() // 2 // _BYTES_A_THREAD))


class TextReader:
    """Reads the text in pictures, from any number of threads. Make one with `load_text_reader`."""

    def __init__(self, engine: Any) -> None:
        """`engine` is a `rapidocr.RapidOCR` that neither resizes pictures nor changes its settings."""
        self._engine = engine

    def read(self, image: Image.Image) -> list[TextLine]:
        """The lines of an upright picture of any mode and size, in reading order; none where there is no text.

        Lines that are read without confidence or have neither letter nor digit are left out. Of a picture with more,
        the first 500 lines, and of these 10,000 characters, are kept.

        Raises:
            PhotoError: the engine fails on this picture.
        """
        try:
            sized = _sized(image)
            if sized is None:
                return []
            found = self._engine(sized)
            # One list, or None, of each: where nothing was found, the engine answers with less.
            quads, texts, scores = (getattr(found, name, None) for name in ("boxes", "txts", "scores"))
            if quads is None or texts is None or scores is None:
                return []
            lines = [
                TextLine(_clean(text), _box(quad, sized.size), float(score))
                for quad, text, score in zip(quads, texts, scores, strict=True)
            ]
        except MemoryError as error:
            raise PhotoMemoryError("its text needs more memory than there is") from error
        except Exception as error:  # whatever ONNX Runtime and OpenCV raise
            raise PhotoError(f"its text cannot be read ({_last_line(error)[:100]})") from error
        return _bounded(_in_reading_order([line for line in lines if _is_believed(line)]))


def check_installed() -> None:
    """Return if the extra is installed; loads nothing.

    Raises:
        SightlineError: it is not.
    """
    missing = [name for name in ("rapidocr", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise _not_installed(f"{' and '.join(missing)} not found")


def load_text_reader(*, threads: int | None = None) -> TextReader:
    """Load the models that RapidOCR carries.

    `threads` is how many threads one picture may take; None leaves it to ONNX Runtime, which takes every core. OpenCV's
    own threads are set to as many for the whole process.

    Raises:
        SightlineError: the extra is not installed, or its models are missing or damaged.
    """
    try:
        import cv2
        import onnxruntime  # noqa: F401
        import rapidocr
        from rapidocr import RapidOCR
    except ImportError as error:
        raise _not_installed(str(error)) from error
    number = version("rapidocr")
    folder = Path(rapidocr.__file__).parent / "models"
    settings: dict[str, Any] = {
        "Global.log_level": "critical",
        "Global.text_score": _MIN_CONFIDENCE,
        # Pictures come in the size in which they are to be read.
        "Global.use_preprocess_img": False,
        "Global.use_vertical_padding": False,
        "Det.limit_type": "min",
        "Det.limit_side_len": 1,
        "Det.max_candidates": _MAX_LINES,
        # With a path the engine checks no checksum, and so never downloads what it takes for damaged.
        **{f"{part}.model_path": str(folder / file) for part, file in _MODELS.items()},
    }
    if threads is not None:
        # The engine takes a number beyond the cores for none at all.
        settings["EngineConfig.onnxruntime.intra_op_num_threads"] = max(1, min(threads, os.cpu_count() or 1))
        cv2.setNumThreads(threads)
    try:
        engine = RapidOCR(params=settings)
        # It loads each model when it first needs it; what is wrong with one should show now, not in every photo.
        for whole_picture_is_a_line in (True, False):
            engine(Image.new("RGB", (320, 48), "white"), use_det=not whole_picture_is_a_line)
    except Exception as error:  # whatever a damaged file makes of itself in a third party's code
        raise SightlineError(
            f"The models of RapidOCR {number} are missing or damaged ({_last_line(error)[:200]}); "
            "install it again: pip install --force-reinstall rapidocr."
        ) from error
    return TextReader(engine)


def _last_line(error: Exception) -> str:
    """What ONNX Runtime and OpenCV say last is the cause."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def _not_installed(detail: str) -> SightlineError:
    return SightlineError(
        f'Reading text in pictures needs RapidOCR, which cannot be loaded ({detail}): pip install "sightline[ocr]".'
    )


def _sized(image: Image.Image) -> Image.Image | None:
    """The picture as RGB in the size in which it is read; None where no text can be."""
    width, height = image.size
    if min(width, height) == 0:
        return None
    enlarged = min(_MOST_ENLARGED, max(1.0, _ENLARGED_SHORTER_SIDE / min(width, height)))
    scale = min(enlarged, math.sqrt(_PIXELS / (width * height)), _LONGEST / max(width, height))
    size = (round(width * scale), round(height * scale))
    if min(size) < _SHORTEST:
        return None
    rgb = to_rgb(image)
    return rgb if size == rgb.size else rgb.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)


def _clean(text: str) -> str:
    """The text without what cannot be seen (control characters, marks of direction), its blanks single."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _is_believed(line: TextLine) -> bool:
    characters = sum(map(str.isalnum, line.text))
    return characters > 0 and line.confidence >= (_MIN_CONFIDENCE if characters > 1 else _MIN_CONFIDENCE_ALONE)


def _box(quad: Any, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """What surrounds the corners [4, 2] of a line, in pixels of a picture of this size, as fractions of it."""
    across = [min(1.0, max(0.0, float(x) / size[0])) for x, _ in quad]
    down = [min(1.0, max(0.0, float(y) / size[1])) for _, y in quad]
    return min(across), min(down), max(across), max(down)


def _in_reading_order(lines: list[TextLine]) -> list[TextLine]:
    """Rows from top to bottom, each from left to right."""
    rows: list[list[TextLine]] = []
    for line in sorted(lines, key=lambda line: _middle(line, 1)):
        if rows and all(_side_by_side(line, other) for other in rows[-1]):
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda line: line.box[0])]


def _side_by_side(one: TextLine, other: TextLine) -> bool:
    """Whether two lines stand in one row.

    The boxes of slanted lines reach far up and down, but those of one paragraph also lie above each other.
    """
    level = _holds(one, other, 1) and _holds(other, one, 1)
    return level and not _holds(one, other, 0) and not _holds(other, one, 0)


def _holds(one: TextLine, other: TextLine, axis: int) -> bool:
    """Whether the middle of the other lies within this one, sideways (axis 0) or up and down (axis 1)."""
    return one.box[axis] <= _middle(other, axis) <= one.box[axis + 2]


def _middle(line: TextLine, axis: int) -> float:
    return (line.box[axis] + line.box[axis + 2]) / 2


def _bounded(lines: list[TextLine]) -> list[TextLine]:
    """The first lines, as many as a picture may have."""
    kept, room = [], _MAX_CHARACTERS
    for line in lines[:_MAX_LINES]:
        room -= len(line.text)
        if room < 0:
            break
        kept.append(line)
    return kept

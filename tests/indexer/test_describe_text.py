"""The text in pictures is read, where it stands and in the order of reading; what is no text stays away."""

from __future__ import annotations

import base64
import builtins
import io
import socket
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib
import numpy as np
import pytest
import skimage
from PIL import Image, ImageDraw, ImageFont

from indexer.describe import text
from indexer.describe.text import TextReader, load_text_reader, threads_that_fit
from search.catalog.descriptions import TextLine
from search.errors import PhotoError, PhotoMemoryError, SightlineError

pytestmark = pytest.mark.usefixtures("loaded_once")

# No declared dependency has a font for Chinese or Japanese; these were drawn with Noto Sans CJK, black on white.
CAR_PARK_EXIT = """
iVBORw0KGgoAAAANSUhEUgAAALAAAAAsAQAAAADtaA/LAAABR0lEQVR42tWTMUoDQRSGv7cubApJ9gDKzhEsgyDZI4gnsLXzBg5WdskBLHKU
LARMIZITyMZGtNqEFBuZ7LPIus6G1ILTzLyPn583758R5dAK+Lc4ncEKKgC1v2oDgO6bOFgBSzEe1uw0rAvzBePGG8iBnksBliIxAdVA3eJC
OuCs790UHwCIqiXAbSROhlrCm9+JAMQwNc8+LkUt1oCOfFwAaqD/anycq1iAcJ2FDd6dqnQMHdCA5GqnnkVaYIHo5dozuQScLAxMiNxdXmOT
Se3Ztc34d3ukSQ6WNcx/cE+LeoAUUO6HptvwUJZVv5XOpk7l8b6FzzgG4KZo4eg9z2QRrs/DQ+9kPs338UATd8QsB1AR66lPGNVvqJkggFHT
2YY8fCqjVt/pxLvbxkWqmqiWrqeqT0vVoQYQdHYCIQbowi3y9x/wG+shdZbqZigfAAAAAElFTkSuQmCC
"""
TOKYO_TOWER_ENTRANCE = """
iVBORw0KGgoAAAANSUhEUgAAAPAAAAAsAQAAAABz0ghrAAABnElEQVR42uWUMW7bQBBF39CMrMKQBLgVTOYKqdyRVW4RIEdwkSId10DKFDqC
D+KCThOV0g0UwEjcmTYMhAzo/S6WoikjStoAmWqwf/7On7+DNfGniPhvYTl4/At7T8nwctdnsnyblXAgn0m1+vBkIQnsq+gq7spzAPNwZzYj
IvNFC0BDeWe22ukdSJmA22myHiAmFsTD2srEImA9uxlzsQH4oRSYBcE7gz2a5SwH0/keNl+4Dkj32SKh2WDt2s1L13z6G1NjFJG8A9o3PgfS
bymH9dbgZ/ZN4Z4lN9WWbf48BTh+dfn1fo80B0ejJRN8nkg1Ub4DnxuYDfyrX0qDEmg7TfMh+8AXZdiqLq773ofVtPOgBJqQLic9uzpFTsBn
YKtdPfx9DniHjh1chOPFuIeXEzxRya8U+BS4adzpkD/5WNS+SFRJahNJUpv5rIKpInwalw2csQYewru0OZvu8ocyWt3Dqd4Cq+BW7ezGJEfE
GvtwDXPGwOvQcg2XnWsjeH/0hdjOgJMgaMR2cyRfSKV24lb6KUmyf/fjegLjNMUSf/uPnAAAAABJRU5ErkJggg==
"""


@pytest.fixture(scope="module")
def reader() -> TextReader:
    return load_text_reader(threads=1)


def font(height: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), height)


def written(*texts: tuple[str, int, int, int], size: tuple[int, int] = (800, 600)) -> Image.Image:
    """A light picture with black texts, each (text, left, top, height of its letters in pixels)."""
    image = Image.new("RGB", size, (230, 228, 220))
    for words, left, top, height in texts:
        ImageDraw.Draw(image).text((left, top), words, "black", font(height))
    return image


def read(reader: TextReader, image: Image.Image) -> list[str]:
    return [line.text for line in reader.read(image)]


class Engine:
    """Stands in for RapidOCR: it finds so many lines, one below the other, in whatever picture."""

    def __init__(self, texts: list[str], scores: list[float] | None = None) -> None:
        self.texts, self.scores = texts, scores or [0.99] * len(texts)

    def __call__(self, image: Image.Image) -> SimpleNamespace:
        step = image.height / (len(self.texts) + 1)
        tops = np.arange(len(self.texts)) * step
        boxes = [[[0, top], [90, top], [90, top + step], [0, top + step]] for top in tops]
        return SimpleNamespace(boxes=np.array(boxes), txts=tuple(self.texts), scores=tuple(self.scores))


class BrokenEngine:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def __call__(self, image: Image.Image) -> SimpleNamespace:
        raise self.error


PLAIN = Image.new("RGB", (300, 200))


def test_a_number_plate_is_read(reader: TextReader) -> None:
    image = Image.new("RGB", (1200, 900), (70, 80, 90))
    ImageDraw.Draw(image).rectangle((400, 500, 690, 570), "yellow", "black", 3)
    ImageDraw.Draw(image).text((420, 508), "RE16 TGK", "black", ImageFont.load_default(50))
    (line,) = reader.read(image)
    assert line.text.split() == ["RE16", "TGK"]
    assert line.confidence > 0.9


@pytest.mark.parametrize("size", [(400, 300), (800, 600), (4000, 3000), (300, 2400), (2400, 300)])
def test_a_box_is_where_the_text_stands_whatever_the_size(reader: TextReader, size: tuple[int, int]) -> None:
    width, height = size
    left, top, letters = width // 2, height // 3, min(size) // 6
    (line,) = reader.read(written(("Exit", left, top, letters), size=size))
    drawn = font(letters).getbbox("Exit")
    expected = (
        (left + drawn[0]) / width,
        (top + drawn[1]) / height,
        (left + drawn[2]) / width,
        (top + drawn[3]) / height,
    )
    assert line.text == "Exit"
    assert line.box == pytest.approx(expected, abs=0.07)


def test_lines_come_in_the_order_of_reading(reader: TextReader) -> None:
    image = written(
        ("Total", 60, 402, 30),
        ("Coffee", 60, 202, 30),
        ("12.40", 600, 400, 30),
        ("4.20", 600, 198, 30),
        ("Bill", 300, 60, 50),
    )
    assert read(reader, image) == ["Bill", "Coffee", "4.20", "Total", "12.40"]


def test_the_lines_of_a_tilted_page_keep_their_order(reader: TextReader) -> None:
    lines = ["The first line of this page", "goes on in the second one", "and ends here in the third"]
    page = written(*[(words, 120, 150 + 60 * i, 36) for i, words in enumerate(lines)])
    assert read(reader, page.rotate(5, Image.Resampling.BICUBIC, fillcolor="white")) == lines


def test_an_upright_line_beside_others_does_not_shuffle_them() -> None:
    boxes = [
        (0.0, 0.0, 0.05, 1.0),
        (0.3, 0.1, 0.9, 0.2),
        (0.2, 0.4, 0.9, 0.5),
        (0.1, 0.7, 0.9, 0.8),
        (0.4, 0.85, 0.9, 0.9),
    ]
    lines = [TextLine(str(i), box, 1.0) for i, box in enumerate(boxes)]
    ordered = [line.text for line in text._in_reading_order(lines[::-1])]
    assert [number for number in ordered if number != "0"] == ["1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("picture", "expected"), [(CAR_PARK_EXIT, "停车场出口"), (TOKYO_TOWER_ENTRANCE, "東京タワー入口")]
)
def test_chinese_and_japanese_are_read(reader: TextReader, picture: str, expected: str) -> None:
    image = Image.new("RGB", (640, 400), "white")
    image.paste(Image.open(io.BytesIO(base64.b64decode(picture))), (150, 150))
    assert read(reader, image) == [expected]


def test_letters_with_marks_are_read(reader: TextReader) -> None:
    image = written(("Straße Zürich café", 100, 100, 40), ("żółć Łódź", 100, 200, 40), ("garçon mañana", 100, 300, 40))
    assert read(reader, image) == ["Straße Zürich café", "żółć Łódź", "garçon mañana"]


def test_the_small_print_of_a_large_photo_is_read(reader: TextReader) -> None:
    words = "Please keep this letter for your records"
    assert read(reader, written((words, 600, 1000, 50), size=(3000, 4000))) == [words]


def test_a_printed_page_is_read(reader: TextReader) -> None:
    page = Image.open(Path(skimage.__file__).parent / "data" / "page.png")
    assert read(reader, page)[:3] == [
        "Region-based segmentation",
        "Let us first determine markers of the coins and the",
        "background. These markers are pixels that we can label",
    ]


def test_a_long_screenshot_stays_legible(reader: TextReader) -> None:
    lines = [f"Message {number} of a long chat" for number in range(1, 21)]
    page = written(*[(words, 60, 440 * i + 100, 40) for i, words in enumerate(lines)], size=(1080, 9000))
    assert read(reader, page) == lines


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F", "I;16"])
def test_pictures_of_any_mode_are_read(reader: TextReader, mode: str) -> None:
    image = written(("Hello 42", 100, 100, 60), size=(500, 300))
    assert read(reader, (image.convert("L") if mode == "I;16" else image).convert(mode)) == ["Hello 42"]


@pytest.mark.parametrize(
    "size", [(1, 1), (3, 3), (12, 12), (1, 20000), (20000, 1), (40, 20000), (20000, 40), (640, 480)]
)
def test_an_empty_picture_has_no_text(reader: TextReader, size: tuple[int, int]) -> None:
    assert reader.read(Image.new("RGB", size, "white")) == []
    assert reader.read(Image.new("RGB", size, "black")) == []


def test_noise_has_no_text(reader: TextReader) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    assert reader.read(Image.fromarray(noise)) == []


def test_one_reader_serves_many_threads(reader: TextReader) -> None:
    found: dict[int, list[str]] = {}

    def work(number: int) -> None:
        found[number] = read(reader, written((f"Number {number}00", 100, 100, 50), size=(500, 300)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: [f"Number {number}00"] for number in range(1, 5)}


def test_lines_without_letter_digit_or_confidence_are_left_out() -> None:
    engine = Engine(["—", "…!", "maybe", "sure", "x", "7", "店"], [0.99, 0.99, 0.6, 0.75, 0.8, 0.95, 0.8])
    assert read(TextReader(engine), PLAIN) == ["sure", "7"]


def test_text_is_kept_as_seen_but_for_what_cannot_be_seen() -> None:
    engine = Engine(["a\x00b\x02c\u202ed", "ＡＢＣ　１２", "  two\n words "])
    assert read(TextReader(engine), PLAIN) == ["a b c d", "ＡＢＣ １２", "two words"]


def test_one_picture_cannot_fill_the_catalog() -> None:
    assert len(TextReader(Engine(["word"] * 2000)).read(PLAIN)) == 500
    long = TextReader(Engine(["x" * 400] * 100)).read(PLAIN)
    assert sum(len(line.text) for line in long) == 10_000


@pytest.mark.parametrize("error", [RuntimeError("Traceback\n  many lines\nRuntimeError: bad node"), ValueError()])
def test_a_crash_of_the_engine_is_one_photos_failure(error: Exception) -> None:
    with pytest.raises(PhotoError, match=r"its text cannot be read \((RuntimeError: bad node|ValueError)\)"):
        TextReader(BrokenEngine(error)).read(PLAIN)


def test_too_little_memory_is_told_apart() -> None:
    with pytest.raises(PhotoMemoryError):
        TextReader(BrokenEngine(MemoryError())).read(PLAIN)


@pytest.mark.parametrize("missing", ["rapidocr", "onnxruntime", "cv2"])
def test_without_the_extra_the_sentence_names_it(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    real = builtins.__import__

    def blocked(name: str, *arguments: Any, **more: Any) -> Any:
        if name.partition(".")[0] == missing:
            raise ModuleNotFoundError(f"No module named '{missing}'")
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", blocked)
    for module in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(SightlineError, match=r'pip install "sightline\[ocr\]"'):
        load_text_reader()


def test_a_missing_or_damaged_model_is_said_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"not a model")
    for part in text._MODELS:
        for file in (damaged, tmp_path / "nowhere.onnx"):
            with monkeypatch.context() as patch:
                patch.setitem(text._MODELS, part, str(file))
                with pytest.raises(SightlineError, match=r"missing or damaged.*install it again"):
                    load_text_reader(threads=1)


def test_nothing_is_asked_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **more: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    reader = load_text_reader(threads=1)
    assert read(reader, written(("Hello 42", 100, 100, 60), size=(500, 300))) == ["Hello 42"]


@pytest.mark.parametrize(("free", "cores", "threads"), [(64e9, 4, 4), (3e9, 16, 3), (1e8, 16, 1)])
def test_threads_fit_the_cores_and_the_free_memory(
    monkeypatch: pytest.MonkeyPatch, free: float, cores: int, threads: int
) -> None:
    monkeypatch.setattr("indexer.describe.text.free_memory", lambda: int(free))
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    assert threads_that_fit() == threads

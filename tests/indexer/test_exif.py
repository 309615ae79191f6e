"""EXIF: what can be believed is kept, and nothing that a camera wrote can make reading fail."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from indexer.exif import NO_EXIF, ExifData, read_exif
from indexer.read import decode

EXIF, GPS = 0x8769, 0x8825
MAKE, MODEL, DATE, ORIENTATION = 0x010F, 0x0110, 0x0132, 0x0112
ORIGINAL, DIGITIZED, OFFSET, OFFSET_ORIGINAL, LENS = 0x9003, 0x9004, 0x9010, 0x9011, 0xA434


def photo(
    main: dict[int, Any] | None = None,
    details: dict[int, Any] | None = None,
    gps: dict[int, Any] | None = None,
    format: str = "JPEG",
) -> ExifData:
    exif = Image.Exif()
    for tag, value in (main or {}).items():
        exif[tag] = value
    for which, values in ((EXIF, details), (GPS, gps)):
        if values:
            exif[which] = values
    content = io.BytesIO()
    Image.new("RGB", (8, 8)).save(content, format, exif=exif.tobytes())
    return decode(content.getvalue()).exif


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_everything_from_a_whole_block(format: str) -> None:
    assert photo(
        {MAKE: "Canon", MODEL: "Canon EOS 80D", DATE: "2022:01:01 00:00:00"},
        {ORIGINAL: "2021:06:30 18:04:11", OFFSET_ORIGINAL: "+02:00", LENS: "EF-S18-135mm", 0x9291: "987"},
        {1: "S", 2: (33.0, 51.0, 35.9), 3: "E", 4: (151.0, 12.0, 40.0)},
        format,
    ) == ExifData("2021-06-30T18:04:11+02:00", "Canon EOS 80D", "EF-S18-135mm", -33.8599722, 151.2111111, 1)


def test_a_photo_without_exif_has_none() -> None:
    assert photo() == NO_EXIF == ExifData(None, None, None, None, None, 1)


def test_dates_fall_back_from_the_exposure_to_the_file() -> None:
    assert photo({DATE: "2020:01:02 03:04:05"}).taken_at == "2020-01-02T03:04:05"
    assert photo({DATE: "2020:01:02 03:04:05"}, {DIGITIZED: "2019:01:01 00:00:00"}).taken_at == "2019-01-01T00:00:00"
    blank = {ORIGINAL: "0000:00:00 00:00:00", DIGITIZED: "    :  :     :  :  "}
    assert photo({DATE: "2020:01:02 03:04:05"}, blank).taken_at == "2020-01-02T03:04:05"


def test_the_general_offset_serves_where_the_exposure_has_none() -> None:
    when = {ORIGINAL: "2021:06:30 18:04:11"}
    assert photo({}, when | {OFFSET: "-07:00"}).taken_at == "2021-06-30T18:04:11-07:00"
    assert photo({}, when | {OFFSET_ORIGINAL: "Z"}).taken_at == "2021-06-30T18:04:11+00:00"
    for nonsense in ("   :  ", "+99:00", "02:00", "+2"):
        assert photo({}, when | {OFFSET_ORIGINAL: nonsense}).taken_at == "2021-06-30T18:04:11"


@pytest.mark.parametrize(
    "text",
    [
        "0000:00:00 00:00:00",
        "2021:13:45 10:00:00",
        "2021:02:30 10:00:00",
        "2021:01:01 24:00:00",
        "2021",
        "9999999999",
        "yesterday",
        "   ",
        "\0\0\0",
        "",
    ],
)
def test_impossible_dates_are_left_out(text: str) -> None:
    assert photo({DATE: text}).taken_at is None


def test_fractions_of_a_second_and_iso_separators_are_understood() -> None:
    assert photo({DATE: "2021-06-30T18:04:11.250"}).taken_at == "2021-06-30T18:04:11"


@pytest.mark.parametrize(
    ("make", "model", "camera"),
    [
        ("Canon", "Canon EOS 80D", "Canon EOS 80D"),
        ("NIKON CORPORATION", "NIKON D750", "NIKON D750"),
        ("Apple", "iPhone 12", "Apple iPhone 12"),
        ("SONY\0\0\0", " ILCE-7M3  ", "SONY ILCE-7M3"),
        ("Canon", "", "Canon"),
        ("", "X100V", "X100V"),
        ("\0\x01", "----", None),
        (b"Zo\xc3\xab", "1", "Zo\xeb 1"),
        (b"Zo\xeb", "1", "Zo\xeb 1"),
        ("a\x1b[31mb\r\nc", "", "a [31mb c"),
    ],
)
def test_maker_and_model_are_one_clean_name(make: str | bytes, model: str, camera: str | None) -> None:
    assert photo({MAKE: make, MODEL: model}).camera == camera


def test_text_is_bounded() -> None:
    lens = photo({}, {LENS: "x" * 50_000}).lens
    assert lens == "x" * 200


def test_places_need_both_numbers_and_both_letters() -> None:
    north, west = {1: "N", 2: (48.0, 51.5, 0.0)}, {3: "W", 4: (2.0, 21.0, 0.0)}
    found = photo({}, {}, north | west)
    assert (found.latitude, found.longitude) == (48.8583333, -2.35)
    for gps in (
        north,
        west,
        north | {4: (2.0, 21.0, 0.0)},
        north | west | {1: "X"},
        north | west | {2: (91.0, 0.0, 0.0)},
        north | west | {4: (180.0, 1.0, 0.0)},
        north | {3: "W", 4: ()},
    ):
        found = photo({}, {}, gps)
        assert (found.latitude, found.longitude) == (None, None)


class _Opened(Image.Image):
    """A picture whose EXIF block holds `block`, as a plugin would hand it over."""

    def __init__(self, block: bytes) -> None:
        super().__init__()
        self.info = {"exif": block}


def _zero_denominators() -> bytes:
    exif = Image.Exif()
    exif.get_ifd(GPS).update({1: "N", 2: (48.0, 51.0, 7.0), 3: "E", 4: (2.0, 21.0, 7.0)})
    return exif.tobytes().replace(b"\0\0\0\x30\0\0\0\x01", b"\0\0\0\x30\0\0\0\0")


def test_a_fraction_over_zero_is_no_place() -> None:
    assert b"\0\0\0\x30\0\0\0\0" in _zero_denominators()
    assert read_exif(_Opened(_zero_denominators())) == NO_EXIF


def test_orientation_is_one_unless_it_makes_sense() -> None:
    assert photo({ORIENTATION: 6}).orientation == 6
    for nonsense in (0, 9, 300):
        assert photo({ORIENTATION: nonsense}).orientation == 1


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_no_block_makes_it_raise() -> None:
    exif = Image.Exif()
    exif[MAKE], exif[ORIENTATION] = "Canon", 3
    exif.get_ifd(EXIF).update({ORIGINAL: "2021:06:30 18:04:11"})
    block = exif.tobytes()
    for cut in range(len(block)):
        read_exif(_Opened(block[:cut]))
    for at in range(6, len(block)):
        for value in (0, 1, 0x7F, 0xFF):
            read_exif(_Opened(block[:at] + bytes([value]) + block[at + 1 :]))

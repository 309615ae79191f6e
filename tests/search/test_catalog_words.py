"""Words of photos: whole words, parts of words, and writing without blanks."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.catalog import changes, descriptions, settings, words
from search.catalog.connection import connect_to_write
from search.catalog.descriptions import TextLine
from search.catalog.unspaced import joined, pairs, spaced
from search.filters import condition
from search.home import Home
from search.query import parse


@pytest.fixture
def catalog(home: Home) -> Iterator[sqlite3.Connection]:
    """Three photos with captions, text in the picture and names."""
    connection = connect_to_write(home)
    library = changes.add_library(connection, b"/photos")
    told = (
        ("plate.jpg", "A car in front of a house.", ["RE16 TGK", "no parking"]),
        ("東京旅行.jpg", "夜の東京タワー", []),
        ("IMG_2041.jpg", "Two dogs run on a beach.", []),
    )
    for number, (name, caption, lines) in enumerate(told):
        photo = changes.put_photo(
            connection,
            changes.NewPhoto(f"{number:032}", 4, 3, "JPEG", 1, None, f"2021-01-0{number + 1}", None, None, None, None),
        )
        changes.put_file(
            connection,
            library_key=library,
            folder=b"/photos",
            name=name.encode(),
            size=1,
            mtime_ns=1,
            photo_key=photo,
        )
        descriptions.put_caption(connection, photo, "starter", caption)
        descriptions.put_text(connection, photo, [TextLine(line, (0.0, 0.0, 1.0, 0.5), 0.9) for line in lines])
        words.refresh(connection, [photo])
    yield connection
    connection.close()


def exactly(catalog: sqlite3.Connection, text: str) -> list[int]:
    sql, values = condition(parse(text))
    return [row[0] for row in catalog.execute(f"SELECT key FROM photos WHERE {sql} ORDER BY key", values)]


def freely(catalog: sqlite3.Connection, text: str) -> list[int]:
    expression = words.match_all(text.split())
    return sorted(words.ranked(catalog, expression, "TRUE", ())) if expression else []


def test_part_of_a_plate_or_of_a_file_name_is_found_and_part_of_a_caption_s_word_is_not(
    catalog: sqlite3.Connection,
) -> None:
    assert exactly(catalog, '"RE16"') == exactly(catalog, '"e16 tg"') == exactly(catalog, '"6 TGK"') == [1]
    assert exactly(catalog, '"204"') == [3]
    assert exactly(catalog, '"hous"') == [] and exactly(catalog, '"house"') == [1]
    assert exactly(catalog, '"20"') == []  # too short to be part of anything


def literally(catalog: sqlite3.Connection, text: str) -> list[int]:
    query = parse(text)
    return list(words.written(catalog, query.words, query.exact, "TRUE", ()))


def test_each_word_of_a_query_may_stand_as_a_word_and_each_code_as_part_of_one(catalog: sqlite3.Connection) -> None:
    descriptions.put_own_caption(catalog, 1, "Bought from A12BC, the old plate")
    words.refresh(catalog, [1])
    for asked in ("e16", "plate e16", "e16 tgk", "parking e16 plate.jpg", "e16 a12bc", "re16 e16", "the e16"):
        assert literally(catalog, asked) == [1], asked
    # A word without digits is no part of one; what a captioner says is not written; each of the words must be there.
    for asked in ("late e16", "house e16", "e16 e17", "e16 12b", "dogs e16", "e16 16"):
        assert literally(catalog, asked) == [], asked


def test_what_stands_as_words_comes_before_what_stands_as_parts_of_them(catalog: sqlite3.Connection) -> None:
    descriptions.put_own_caption(catalog, 3, "No parking but for E16")
    words.refresh(catalog, [3])
    assert literally(catalog, "e16 parking") == [3, 1]


def test_no_more_than_some_codes_are_looked_up_as_parts(catalog: sqlite3.Connection) -> None:
    lines = [TextLine(" ".join(f"x{number}y" for number in range(100, 109)), (0.0, 0.0, 1.0, 1.0), 0.9)]
    descriptions.put_text(catalog, 2, lines)
    words.refresh(catalog, [2])
    codes = [f"x{number}" for number in range(100, 108)]
    assert literally(catalog, " ".join(codes)) == [2]
    assert literally(catalog, " ".join([*codes, "x108"])) == [] and literally(catalog, " ".join([*codes, "x108y"])) == [
        2
    ]


def test_words_and_parts_of_words_are_marked_wherever_they_stand(catalog: sqlite3.Connection) -> None:
    found = dict(words.marked(catalog, ["plate", "e16"], [], [1])[1])
    assert found == {
        "name": f"{words.OPEN}plate{words.CLOSE}.jpg",
        "text": f"R{words.OPEN}E16{words.CLOSE} TGK no parking",
    }


def test_scores_of_words_are_those_of_bm25(catalog: sqlite3.Connection) -> None:
    descriptions.put_own_caption(catalog, 2, "beach beach")
    words.refresh(catalog, [2])
    found = words.ranked(catalog, words.match_all(["beach"]), "TRUE", ())
    by_hand = catalog.execute(
        "SELECT rowid, -bm25(words, 10, 10, 5, 4, 2) AS score FROM words"
        " WHERE words MATCH 'beach OR beaches' ORDER BY score DESC"
    )
    assert list(found.items()) == by_hand.fetchall() and list(found) == [2, 3] and found[2] > found[3] > 0


def test_unspaced_writing_is_found_wherever_it_stands(catalog: sqlite3.Connection) -> None:
    assert freely(catalog, "東京") == exactly(catalog, '"東京"') == exactly(catalog, '"タワー"') == [2]
    assert freely(catalog, "塔") == [] and freely(catalog, "旅") == [2]
    assert freely(catalog, "京東") == []
    found = words.marked(catalog, ["東京"], [], [2])[2]
    assert [field for field, _ in found] == ["caption", "name"]
    assert found[0][1].replace(words.OPEN, "").replace(words.CLOSE, "") == "夜の東京タワー"


def test_free_words_are_found_in_the_plural_and_the_singular(catalog: sqlite3.Connection) -> None:
    assert freely(catalog, "dog") == freely(catalog, "beaches") == freely(catalog, "dogs beach") == [3]
    assert exactly(catalog, '"dog"') == []


def test_excluded_words_are_words(catalog: sqlite3.Connection) -> None:
    assert exactly(catalog, "-dogs -car") == [2] and exactly(catalog, "-do") == [1, 2, 3]


def test_words_in_an_earlier_form_are_written_anew_once(catalog: sqlite3.Connection) -> None:
    catalog.execute("DELETE FROM words")
    outdated = words.outdated(catalog)
    assert outdated == [1, 2, 3]
    assert list(words.refresh_all(catalog, outdated)) == [3] and words.outdated(catalog) is None
    assert freely(catalog, "dog") == [3]
    settings.put(catalog, "words_form", "1")
    assert words.outdated(catalog) == outdated


def test_own_caption_stands_before_a_captioner_s_and_can_be_taken_back(catalog: sqlite3.Connection) -> None:
    from search.catalog.photo import photos_by_key

    descriptions.put_own_caption(catalog, 3, "Rex and Bella in Brighton")
    descriptions.put_caption(catalog, 3, "coca", "dogs on sand")
    assert photos_by_key(catalog, [3])[3].caption == "Rex and Bella in Brighton"
    words.refresh(catalog, [3])
    assert freely(catalog, "sand") == freely(catalog, "brighton") == [3] and freely(catalog, "run") == []
    descriptions.put_own_caption(catalog, 3, "")
    assert photos_by_key(catalog, [3])[3].caption == "dogs on sand" and freely(catalog, "brighton") == []


def test_boxes_of_text_come_back_as_they_were(catalog: sqlite3.Connection) -> None:
    assert [line.text for line in descriptions.text_lines(catalog, 1)] == ["RE16 TGK", "no parking"]
    assert descriptions.text_lines(catalog, 1)[0] == TextLine("RE16 TGK", (0.0, 0.0, 1.0, 0.5), 0.9)
    assert descriptions.text_lines(catalog, 2) == []


@given(st.text())
def test_seams_are_invisible_and_pairs_lose_nothing(text: str) -> None:
    text = joined(text)
    assert joined(spaced(text)) == text
    assert set("".join(pairs(text))) == set(text)


def test_pairs_keep_other_writing_whole() -> None:
    assert pairs("iPhoneで撮影") == ["iPhone", "で撮", "撮影"] and pairs("犬") == ["犬"] and pairs("") == []


def test_letters_of_full_and_half_width_are_the_same(catalog: sqlite3.Connection) -> None:
    box = (0.0, 0.0, 1.0, 1.0)
    descriptions.put_text(catalog, 3, [TextLine("ＡＢ１６", box, 0.9), TextLine("TGK ｶﾒﾗ", box, 0.9)])
    words.refresh(catalog, [3])
    for asked in ("AB16", "ａｂ１６", "カメラ", "ｶﾒﾗ", '"ab16 tgk"', "b16"):
        assert exactly(catalog, asked if asked.startswith('"') else f'"{asked}"') == [3], asked
    assert freely(catalog, "ａｂ１６") == [3] and list(words.written(catalog, ["Ｂ１６"], [], "TRUE", ())) == [3]
    assert words.marked(catalog, ["ab16"], [], [3])[3][0][1].startswith(f"{words.OPEN}AB16{words.CLOSE}")


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("dog", "dogs"),
        ("beach", "beaches"),
        ("glass", "glasses"),
        ("bus", "buses"),
        ("baby", "babies"),
        ("boy", "boys"),
    ],
)
def test_a_word_is_found_in_its_regular_plural_and_singular(catalog: sqlite3.Connection, one: str, many: str) -> None:
    for stands, asked in ((one, many), (many, one)):
        descriptions.put_caption(catalog, 1, "starter", f"It shows {stands}.")
        words.refresh(catalog, [1])
        assert 1 in freely(catalog, asked), (stands, asked)

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.errors import QueryError
from search.query import FILTERS, Filter, Query, conditions, date_range, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a dog on the beach", Query(words=("a", "dog", "on", "the", "beach"))),
        ("dog -cat", Query(words=("dog",), excluded=("cat",))),
        ('dog -"two words" "red car"', Query(words=("dog",), exact=("red car",), excluded=("two words",))),
        ("after:2021 dog", Query(words=("dog",), filters=(Filter("after", "2021"),))),
        ('camera:"canon eos" -tag:dog', Query(filters=(Filter("camera", "canon eos"), Filter("tag", "dog", True)))),
        ("Folder:Holidays", Query(filters=(Filter("folder", "Holidays"),))),
        ("ratio:16:9 12:30", Query(words=("ratio:16:9", "12:30"))),
        ("well-known half -", Query(words=("well-known", "half"))),
        ('-text:"red car" no:"-dog"', Query(words=("no:",), exact=("-dog",), excluded=("text: red car",))),
        ("dog －cat “red car” -„two words“", parse('dog -cat "red car" -"two words"')),
        ('"', Query()),
        ("", Query()),
    ],
)
def test_reads_the_query_language(text: str, expected: Query) -> None:
    assert parse(text) == expected


PIECES = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        [
            '"',
            "-",
            ":",
            " ",
            '-"',
            "after:2021",
            "tag:",
            "camera:x",
            'folder:"a b"',
            "-is:photo",
            "\x00",
            'x:"',
            "x:",
            "“",
        ]
    ),
)


@given(st.lists(PIECES, max_size=8).map("".join))
def test_any_text_is_a_query_and_its_text_means_the_same(text: str) -> None:
    try:
        query = parse(text)
    except QueryError:
        return  # an impossible date or orientation, said in a sentence
    assert parse(str(query)) == query


@pytest.mark.parametrize("text", ["after:2021-13", "on:2021-02-30", "before:yesterday", "orientation:diagonal"])
def test_a_filter_that_cannot_be_is_said(text: str) -> None:
    with pytest.raises(QueryError, match="There is no"):
        parse(text)


def test_a_very_long_query_is_refused_at_once() -> None:
    with pytest.raises(QueryError, match="100000 characters"):
        parse("a" * 100_000)


def test_conditions_without_end_are_refused() -> None:
    assert len(parse(" ".join(f"-{number}" for number in range(32))).excluded) == 32
    with pytest.raises(QueryError, match="33 filters"):
        parse(" ".join(f"-folder:{number}" for number in range(33)))


def test_dates_are_whole_years_months_and_days() -> None:
    assert date_range("2020") == ("2020-01-01", "2020-12-31")
    assert date_range("2020-02") == ("2020-02-01", "2020-02-29")
    assert date_range("2020-2-3") == ("2020-02-03", "2020-02-03")


def test_every_documented_filter_is_known() -> None:
    assert set(FILTERS) == {"after", "before", "on", "camera", "folder", "type", "orientation", "is", "tag"}


def test_conditions_say_what_each_stretch_of_the_text_means() -> None:
    text = 'a 🐕 “red car” -cat -tag:dog x:"y" after:2021'
    found = [(one.kind, one.value, text[one.start : one.end]) for one in conditions(text)]
    assert found == [
        ("exact", "red car", "“red car”"),
        ("excluded", "cat", "-cat"),
        ("filter", "-tag:dog", "-tag:dog"),
        ("exact", "y", '"y"'),
        ("filter", "after:2021", "after:2021"),
    ]


@given(st.lists(PIECES, max_size=8).map("".join))
def test_without_its_conditions_a_query_is_its_free_words(text: str) -> None:
    try:
        query, found = parse(text), conditions(text)
    except QueryError:
        return
    assert len(found) == len(query.exact) + len(query.excluded) + len(query.filters)
    for one in reversed(found):
        text = text[: one.start] + " " + text[one.end :]
    assert parse(text).words == query.words

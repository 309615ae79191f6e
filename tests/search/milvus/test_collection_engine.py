"""What a node answers from a collection is what the home answers from its catalog."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from faults.base import Base
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from milvus_lite_server import MilvusLite

from search.answer import Answer, Request
from search.catalog import model_records, words
from search.catalog.connection import connect_to_read, connect_to_write
from search.engine import Engine
from search.errors import MilvusError, NotHereError, QueryError, UnknownPhotoError
from search.filters import allowed_keys
from search.home import Home
from search.milvus import home_address
from search.milvus.address import Address
from search.milvus.candidates import CollectionCandidates
from search.milvus.engine import DEEPEST, CollectionEngine
from search.milvus.publishing import publish
from search.query import Query, cleaned, parse
from search.vectors.milvus import MilvusIndex

Pair = tuple[Engine, CollectionEngine]


@pytest.fixture(scope="module")
def published(sound: Base, milvus: MilvusLite, tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, Address]:
    """A home with all that one may hold, whose vectors are in Milvus."""
    home, address = Home(tmp_path_factory.mktemp("published") / "home"), milvus.address()
    shutil.copytree(sound.home.path, home.path)
    bring(home, address)
    return home, address


def bring(home: Home, address: Address) -> None:
    with closing(connect_to_write(home)) as connection:
        with connection:
            home_address.remember(connection, str(address))
        model = model_records.active(connection)
        assert model is not None
        assert publish(home, connection, model, address)


@pytest.fixture(scope="module")
def pair(published: tuple[Home, Address]) -> Iterator[Pair]:
    home, address = published
    with Engine.open(home) as engine, CollectionEngine.open(address) as node:
        assert isinstance(engine._now(engine._connection()).base, MilvusIndex)
        yield engine, node


def shown(answer: Answer, *, ranks: bool) -> list[Any]:
    """The hits, their scores only where ranks are the same."""
    hits = [
        (hit.id, hit.path, hit.caption, hit.relevant, hit.taken_at, hit.width, hit.preview, hit.others, hit.offline)
        + ((None if hit.score is None else pytest.approx(hit.score, abs=1e-4),) if ranks else ())
        for hit in answer.hits
    ]
    return hits if ranks else sorted(hits, key=lambda hit: hit[0])


def marks(answer: Answer) -> dict[str, list[Any]]:
    return {hit.id: [(why.field, why.snippet) for why in hit.why if why.signal == "words"] for hit in answer.hits}


RANKED_ALIKE = [
    Request("a violin in the meadow", mode="meaning", limit=100, include_all=True),
    Request("a violin -copper", mode="meaning", limit=20),
    Request("a violin camera:3 after:2005", mode="meaning", limit=20, include_all=True),
    Request("", limit=10, offset=5),
    Request("after:2005 before:2015", limit=100),
    Request("-after:2005", limit=100),
    Request("folder:photos", limit=100, sort="date"),
    Request("red", mode="meaning", limit=50, sort="date"),
    Request("red", mode="meaning", limit=50, collapse=True, include_all=True),
]
FOUND_ALIKE = [
    Request("thunder", limit=100, include_all=True),
    Request("thunder violin", mode="words", limit=100, include_all=True),
    Request('"INVOICE 0001"', limit=100),
    Request('-after:2005 folder:photos "harbour"', limit=100),
    Request("00010", mode="words", limit=100),
    Request("東京の夜景", mode="words", limit=100),
    Request("lanterns grandma", mode="words", limit=100, include_all=True),
    Request("harbour -pebble", mode="words", limit=100),
    Request("copy.jpg", mode="words", limit=100),
]


@pytest.mark.parametrize("request_", RANKED_ALIKE + FOUND_ALIKE, ids=lambda one: f"{one.text} {one.mode} {one.sort}")
def test_a_node_finds_what_the_home_finds(pair: Pair, request_: Request) -> None:
    ours, theirs = (engine.search(request_) for engine in pair)
    ranks = request_ in RANKED_ALIKE
    assert (theirs.total, theirs.left_out, theirs.collapsed) == (ours.total, ours.left_out, ours.collapsed)
    assert shown(theirs, ranks=ranks) == shown(ours, ranks=ranks)
    assert marks(theirs) == marks(ours)
    assert theirs.conditions == ours.conditions and theirs.model == ours.model
    assert request_.text == "" or ours.total


def test_photos_like_one_are_the_same(pair: Pair) -> None:
    engine, node = pair
    first, second = (hit.id for hit in engine.search(Request(limit=2)).hits)
    for request in (
        Request(like=(first,), limit=30),
        Request(like=(first, second), limit=30),
        Request("violin", mode="meaning", like=(first,), limit=30),
        Request(like=(first,), apart_from=(second,), limit=30),
    ):
        ours, theirs = engine.search(request), node.search(request)
        assert shown(theirs, ranks=True) == shown(ours, ranks=True) and theirs.total == ours.total
    for unknown in ("0" * 32, 'x" or key > 0 or id == "', "\\"):
        with pytest.raises(UnknownPhotoError):
            node.search(Request(like=(unknown,)))


def test_what_is_known_of_a_photo_is_the_same(pair: Pair) -> None:
    engine, node = pair
    for hit in engine.search(Request(limit=100)).hits:
        ours, theirs = engine.photo(hit.id), node.photo(hit.id)
        assert ours is not None and theirs == ours
        assert node.tags(ours) == engine.tags(ours) and node.text_lines(ours) == engine.text_lines(ours)
    assert node.photo("0" * 32) is None and node.photo('" or key > 0') is None


def test_facets_are_counted_over_the_hits(pair: Pair) -> None:
    for text in ("", "thunder", "camera:3"):
        ours, theirs = (engine.search(Request(text, facets=True, include_all=True)).facets for engine in pair)
        assert ours is not None and theirs is not None and theirs.to_json() == ours.to_json()


def test_further_pages_go_on_where_the_first_one_ended(pair: Pair) -> None:
    _, node = pair
    whole = [hit.id for hit in node.search(Request("red", mode="meaning", include_all=True, limit=100)).hits]
    first = node.search(Request("red", mode="meaning", include_all=True, limit=7))
    rest = node.search(Request("red", mode="meaning", include_all=True, limit=93, offset=7, listing=first.listing))
    assert [hit.id for hit in (*first.hits, *rest.hits)] == whole


def test_the_status_of_a_node_is_that_of_the_home(pair: Pair) -> None:
    ours, theirs = (engine.status() for engine in pair)
    assert theirs.keys() == ours.keys()
    for name in ("photos", "files", "failures", "libraries", "model", "fingerprint", "described", "captions", "ocr"):
        assert theirs[name] == ours[name]


def test_what_needs_the_catalog_is_a_sentence(pair: Pair) -> None:
    _, node = pair
    with pytest.raises(NotHereError, match="where the photos are indexed"):
        node.duplicates()
    with pytest.raises(QueryError, match="end after"):
        node.search(Request("red", offset=DEEPEST))
    assert node.saved_searches() == [] and node.suggest("cam", 5).found


def test_a_name_without_a_collection_is_a_sentence(milvus: MilvusLite) -> None:
    with pytest.raises(MilvusError, match="There is no index at milvus:"):
        CollectionEngine.open(milvus.address())


NASTY = st.text(
    st.one_of(st.sampled_from("\"'\\%_{}|()*?:;-`\n\t\0ßéİΣς東x1\U000f0025\U000f0080\ud800 "), st.characters()),
    min_size=1,
    max_size=12,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=NASTY, key=st.sampled_from(["camera", "folder", "type", "tag", "exact", "excluded"]), negative=st.booleans()
)
def test_no_text_breaks_out_of_an_expression(
    published: tuple[Home, Address], pair: Pair, nasty: None, text: str, key: str, negative: bool
) -> None:
    """Whatever is asked, the photos that pass are those of the catalog's own filters."""
    home, _ = published
    text, alone = cleaned(text), key in ("exact", "excluded")
    compare(home, pair[1], Query(**{key: (text,)}) if alone else parse(f'{"-" * negative}{key}:"{text}"'))


@pytest.fixture(scope="module")
def nasty(published: tuple[Home, Address]) -> None:
    """Some photos say what only a hostile mind says."""
    home, address = published
    said = ['100%_"\\', "it's {a} 'b' \\", "ΑΣ straße İx%y", "東京 x'; drop"]
    with closing(connect_to_write(home)) as connection:
        with connection:
            for number, text in enumerate(said, start=1):
                connection.execute("UPDATE photos SET camera = ? WHERE key = ?", (text, number))
                connection.execute("INSERT INTO tags VALUES (?, ?, 0.9)", (number, text))
                connection.execute("INSERT OR REPLACE INTO captions VALUES (?, 'you', ?, '2020')", (number, text))
            words.refresh(connection, range(1, len(said) + 1))
        model = model_records.active(connection)
        assert model is not None
        publish(home, connection, model, address)


@pytest.mark.parametrize(
    "text",
    ['camera:100%', "camera:_", 'camera:"a} \'b"', "camera:\\", "tag:\"it's {a} 'b' \\\"", '"ας straße"', '"100%_"',
     '"x%y"', "-straße", "-東京", '"京"', "folder:%", "folder:_", "type:jpe_", "-camera:camera"],
)  # fmt: skip
def test_signs_that_mean_something_to_milvus_are_looked_for_as_they_are(
    published: tuple[Home, Address], pair: Pair, nasty: None, text: str
) -> None:
    compare(published[0], pair[1], parse(text))


def compare(home: Home, node: CollectionEngine, query: Query) -> None:
    with closing(connect_to_read(home)) as connection:
        ours = allowed_keys(connection, query)
        if ours is None:
            ours = [row[0] for row in connection.execute("SELECT key FROM photos WHERE orphaned_at IS NULL")]
    _, theirs = CollectionCandidates(query, node._now(), node._server).newest(1000)
    assert sorted(theirs.tolist()) == sorted(int(key) for key in ours)

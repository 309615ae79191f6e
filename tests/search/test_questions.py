"""Texts become vectors once, whoever asks for them at the same time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from search.catalog.model_records import ModelRecord
from search.errors import ModelError
from search.questions import Questions


class Slow:
    """A model that embeds when it is let go, or fails then."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.asked: list[list[str]] = []
        self.inside, self.let_go, self._failure = threading.Event(), threading.Event(), failure

    def embed_texts(self, texts: list[str]) -> Any:
        self.asked.append(texts)
        self.inside.set()
        self.let_go.wait(20)
        if self._failure:
            raise self._failure
        return np.asarray([[len(text), 1] for text in texts], np.float32)


def questions(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> Questions:
    found = Questions(ModelRecord(1, "m", "f", 2, 1.0, None), "cpu")
    monkeypatch.setattr(found, "encoder", lambda: slow)
    return found


def test_a_text_that_another_thread_embeds_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow()
    asked = questions(slow, monkeypatch)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(asked.of_texts, ["a", "bb", "a"])
        assert slow.inside.wait(20)
        second = pool.submit(asked.of_texts, ["bb", "ccc"])
        while len(slow.asked) < 2:
            pass
        slow.let_go.set()
        assert [vector[0] for vector in first.result()] == [1, 2, 1]
        assert [vector[0] for vector in second.result()] == [2, 3]
    assert slow.asked == [["a", "bb"], ["ccc"]]
    assert [vector[0] for vector in asked.of_texts(["ccc", "a"])] == [3, 1] and len(slow.asked) == 2


def test_whoever_waits_for_a_text_hears_why_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(ModelError("It is not here."))
    asked = questions(slow, monkeypatch)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(asked.of_text, "a")
        assert slow.inside.wait(20)
        second = pool.submit(asked.of_text, "a")
        slow.let_go.set()
        for each in (first, second):
            with pytest.raises(ModelError, match="not here"):
                each.result()
    slow.asked.clear()
    with pytest.raises(ModelError):  # it is tried again
        asked.of_text("a")
    assert slow.asked == [["a"]]

from __future__ import annotations

import numpy as np
import pytest

from search.ranking import RankedList, expected_ranks, fuse
from search.ranking_settings import RankingSettings
from search.vectors.protocol import Keys

RANKING = RankingSettings()


def meaning(scores: list[float], tolerance: float) -> RankedList:
    given = np.asarray(scores, np.float32)
    return RankedList("meaning", np.arange(len(scores)), None, given, given, tolerance)


def fused(*lists: RankedList) -> list[int]:
    keys: Keys = fuse(lists, RANKING)[0]
    return keys.tolist()


def test_without_a_tolerance_ranks_are_places() -> None:
    assert expected_ranks(meaning([0.9, 0.5, 0.5, 0.1], 0.0)).tolist() == [1, 2, 3, 4]
    assert expected_ranks(RankedList("all words", np.array([7, 5]), 2)).tolist() == [1, 2]


def test_photos_that_are_as_good_share_their_rank_and_others_keep_their_place() -> None:
    assert expected_ranks(meaning([0.9, 0.5, 0.5, 0.1], 0.01)) == pytest.approx([1, 2.5, 2.5, 4], abs=1e-6)
    near = expected_ranks(meaning([0.90, 0.89, 0.1], 0.01))
    # The second is better with a probability of 1 / (1 + e).
    assert near == pytest.approx([1 + 1 / (1 + np.e), 2 - 1 / (1 + np.e), 3], abs=1e-6)


def test_ranks_grow_all_the_way_down_a_long_list() -> None:
    scores = sorted(np.random.default_rng(0).normal(size=1000).tolist(), reverse=True)
    ranks = expected_ranks(meaning(scores, 0.3)).tolist()
    assert ranks == sorted(ranks) and len(set(ranks)) == 1000 and ranks[-1] == 1000


def test_words_decide_between_photos_that_mean_nearly_the_same_and_not_between_others() -> None:
    words = RankedList("some words", np.array([91, 92, 93, 94, 1]), 0)
    assert fused(meaning([0.900, 0.899, 0.1], 0.03), words)[0] == 1
    assert fused(meaning([0.900, 0.700, 0.1], 0.03), words)[0] == 0
    assert fused(meaning([0.900, 0.899, 0.1], 0.0), words)[0] == 0


def test_an_answer_by_meaning_alone_keeps_its_order() -> None:
    scores = sorted(np.random.default_rng(1).normal(size=300).tolist(), reverse=True)
    assert fused(meaning(scores, 0.5)) == list(range(300))

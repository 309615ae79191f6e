from __future__ import annotations

import pytest

from search.evaluate_tags import plain, tag_figures


def test_tags_are_right_where_they_are_the_folders_name() -> None:
    labels = ["dog", "dog", "cat", "cat", "Golden_Retriever", "zebu"]
    tags = [["dog", "grass"], ["cat"], ["cat", "dog"], [], ["golden retriever"], ["horse"]]
    figures = tag_figures(labels, tags, known=["dog", "cat", "golden retriever", "horse", "grass"])
    # dog, cat (wrong), cat, dog (wrong), golden retriever; grass and horse are nobody's label.
    assert figures["precision"] == 60.0
    # Of five photos that could have their label; no tag is called zebu.
    assert figures["recall"] == 60.0
    assert (figures["photos"], figures["labels"], figures["unknown"]) == (6, 4, ["zebu"])
    assert figures["per_label"]["dog"] == {"photos": 2, "tagged": 2, "precision": 50.0, "recall": 50.0}
    assert figures["per_label"]["zebu"] == {"photos": 1, "tagged": 0, "precision": None, "recall": None}


def test_nothing_tagged_has_no_precision() -> None:
    figures = tag_figures(["dog"], [[]], known=["dog"])
    assert (figures["precision"], figures["recall"]) == (None, 0.0)


@pytest.mark.parametrize("label", ["Golden_Retriever", "golden-retriever", " Golden  retriever", "golden.retriever"])
def test_labels_are_written_as_tags_are(label: str) -> None:
    assert plain(label) == "golden retriever"

"""How right tags are, on photos whose folders say what they show."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any


def plain(label: str) -> str:
    """A label as tags are written: `Golden_Retriever` is `golden retriever`."""
    return " ".join(re.split(r"[\W_]+", label.casefold())).strip()


def tag_figures(labels: Sequence[str], tags: Sequence[Collection[str]], known: Collection[str]) -> dict[str, Any]:
    """Precision and recall in per cent, of all labels together and of each, None where there is nothing to divide by.

    A tag counts only if it is the label of some photo: it is right if it is that of its own. What a photo shows besides
    cannot be told from its folder, so that a right tag may count as wrong where labels go together (dog and beach).

    Args:
        labels: of each photo.
        tags: of each photo.
        known: tags that a photo may have. Labels that are none of them cannot be found; their photos are counted as
            `unknown` and left out of the recall.
    """
    wanted = [plain(label) for label in labels]
    given = [{plain(tag) for tag in own} for own in tags]
    asked = set(wanted)
    findable = asked & {plain(tag) for tag in known}
    each = {}
    for label in sorted(asked):
        photos = wanted.count(label)
        assigned = sum(label in own for own in given)
        right = sum(label in own and label == meant for own, meant in zip(given, wanted, strict=True))
        each[label] = {
            "photos": photos,
            "tagged": assigned,
            "precision": _percent(right, assigned),
            "recall": _percent(right, photos) if label in findable else None,
        }
    right = sum(meant in own for own, meant in zip(given, wanted, strict=True))
    assigned = sum(len(own & asked) for own in given)
    findable_photos = sum(meant in findable for meant in wanted)
    return {
        "photos": len(wanted),
        "labels": len(asked),
        "unknown": sorted(asked - findable),
        "precision": _percent(right, assigned),
        "recall": _percent(right, findable_photos),
        "per_label": each,
    }


def _percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 2) if whole else None

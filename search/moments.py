"""Moments: bursts, re-saved, resized and edited copies among the hits of an answer collapse into the best of them.

The best-ranked hit leads; those near to it are its moment, then the best of what is left leads, and so on (greedy
non-maximum suppression). Everyone is near to the leader itself: were it enough to be near to any member, a day's photos
would hang together in one chain.

Two photos are of one moment if they were taken within minutes of each other and look alike; where one has no date, they
must be nearly the same picture. How near that is to be differs between models and libraries, so distances (1 - cosine)
are measured in the library's own `Snapshot.pair_distance`. Photos that a person said are no duplicates of each other
(`search.catalog.dismissals`) are never of one moment.
"""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from search.catalog import dismissals
from search.vectors.protocol import Doubles, Floats, Keys

if TYPE_CHECKING:
    from search.ranking_settings import RankingSettings
    from search.vectors.snapshot import Snapshot

COLLAPSED = 2000
"""Of an answer, as many hits are compared, the best ones; those below stand alone."""
_ROWS = 256


def moments(
    connection: sqlite3.Connection, snapshot: Snapshot, keys: Keys, ranking: RankingSettings
) -> dict[int, list[int]]:
    """The further photos of each leader's moment, best first, of those leaders that have any.

    Args:
        connection: of the state that the snapshot shows.
        snapshot: has the photos' embeddings.
        keys: int64[n], the hits, best first.
        ranking: has the bounds.
    """
    keys = keys[:COLLAPSED]
    if len(keys) < 2:
        return {}
    said = dismissals.apart(connection, keys.tolist())
    return grouped(keys, snapshot.vectors(keys), _minutes(connection, keys), snapshot.pair_distance, ranking, said)


def grouped(
    keys: Keys, vectors: Floats, minutes: Doubles, unit: float, ranking: RankingSettings, said: dismissals.Apart
) -> dict[int, list[int]]:
    """As `moments`, of what is known of the photos.

    Args:
        keys: int64[n], `COLLAPSED` at most.
        vectors: float32[n, d].
        minutes: float64[n], when each was taken by its camera's clock; NaN where that is not known.
        unit: the library's `Snapshot.pair_distance`.
        ranking: has the bounds.
        said: which photos a person said are no duplicates, by keys.
    """
    places = {key: place for place, key in enumerate(keys.tolist())}
    dismissed = {places[key]: {places[other] for other in others} for key, others in said.items()}
    led = _led(vectors, minutes, unit, ranking, dismissed)
    return {int(keys[leader]): keys[others].tolist() for leader, others in led.items()}


def _led(
    vectors: Floats, minutes: Doubles, unit: float, ranking: RankingSettings, dismissed: dismissals.Apart
) -> dict[int, Keys]:
    """For each leader (a row of `vectors`, float32[n, d]) the rows of the others of its moment."""
    copy, moment = ranking.copy_distance * unit, ranking.moment_distance * unit
    undated = np.isnan(minutes)
    free = np.ones(len(vectors), np.bool_)
    led: dict[int, Keys] = {}
    for start in range(0, len(vectors), _ROWS):
        rows = start + np.flatnonzero(free[start : start + _ROWS])
        timed, below = rows[~undated[rows]], np.arange(start, len(vectors))
        # Those of other times need not be compared at all, and as a rule most are.
        same = below[undated[below] | _is_close(minutes[below], minutes[timed], ranking.moment_minutes)]
        pairs = [_near(vectors, timed, same, max(copy, moment)), _near(vectors, rows[undated[rows]], below, copy)]
        one, other, distance = map(np.concatenate, zip(*pairs, strict=True))
        apart = np.abs(minutes[one] - minutes[other])
        near = np.where(np.isnan(apart), distance <= copy, (distance <= moment) & (apart <= ranking.moment_minutes))
        one, other = one[near], other[near]
        order = np.lexsort((other, one))
        one, other = one[order], other[order]
        ends = np.searchsorted(one, [*rows, len(vectors)])
        for i, row in enumerate(rows.tolist()):
            if not free[row]:
                continue
            free[row] = False
            others = other[ends[i] : ends[i + 1]]
            others = others[free[others]]
            if dismissed:
                others = np.asarray(dismissals.together(row, others.tolist(), dismissed), np.int64)
            if len(others):
                free[others] = False
                led[row] = others
    return led


def _near(vectors: Floats, rows: Keys, columns: Keys, bound: float) -> tuple[Keys, Keys, Floats]:
    """The pairs of a row and a column that are no farther from each other than `bound`, and how far."""
    distances = 1 - vectors[rows] @ vectors[columns].T
    one, other = np.nonzero(distances <= bound)
    return rows[one], columns[other], distances[one, other]


def _is_close(values: Doubles, to: Doubles, within: float) -> npt.NDArray[np.bool_]:
    """Which of the values, bool[n], have one of `to` no farther away than `within`; NaN has none."""
    edges = np.concatenate([[-np.inf], np.sort(to), [np.inf]])
    after = np.searchsorted(edges[1:-1], values) + 1
    distances: Doubles = np.minimum(values - edges[after - 1], edges[after] - values)
    return distances <= within


def _minutes(connection: sqlite3.Connection, keys: Keys) -> Doubles:
    """When each photo was taken, float64[n] in minutes by its camera's clock; NaN where that is not known."""
    taken = dict(
        connection.execute(
            "SELECT key, strftime('%s', substr(taken_at, 1, 19)) / 60.0 FROM photos"
            " WHERE taken_at IS NOT NULL AND key IN (SELECT value FROM json_each(?))",
            (json.dumps(keys.tolist()),),
        )
    )
    return np.asarray([taken.get(key) for key in keys.tolist()], dtype=np.float64)

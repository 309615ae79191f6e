"""Embeddings as a model makes them of a large library and of texts about it, where no such library is at hand.

Photos come of events, events of themes: of both there are few large and many small ones, and photos of one event are
nearer to one another than to others of its theme. What sets them apart lies mostly in few directions, as principal
components of real embeddings do, and all lie in a cone around one mean direction. Texts lie in a cone of their own
(the modality gap: Liang et al., “Mind the Gap”, NeurIPS 2022), farther from every photo than photos are from another.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from search.catalog import model_records
from search.catalog.model_records import ModelRecord

Floats = npt.NDArray[np.float32]

_CHUNK = 50_000
_MEAN = 0.66
"""How far the mean direction reaches beside what sets photos apart, whose length is about one."""


def made_up_model(connection: sqlite3.Connection, dimensions: int) -> ModelRecord:
    """The model that is said to have made them, which queries use from now on."""
    model = model_records.register(
        connection,
        name="synthetic",
        weights="synthetic",
        preprocessing="none",
        precision="auto",
        dimensions=dimensions,
        logit_scale=100.0,
        logit_bias=None,
    )
    model_records.activate(connection, model.key)
    return model


class Embeddings:
    """`photos` embeddings of `dimensions` dimensions, the same for the same `seed`."""

    def __init__(self, photos: int, dimensions: int = 512, seed: int = 0) -> None:
        self.photos, self.dimensions, self._seed = photos, dimensions, seed
        dice = np.random.default_rng(seed)
        deviations = (1 + np.arange(dimensions)) ** -0.5
        turned, _ = np.linalg.qr(dice.standard_normal((dimensions, dimensions)))
        self._basis = (deviations[:, None] / np.linalg.norm(deviations) * turned).astype(np.float32)
        self._mean, self._text_mean = (_unit(self._drawn(dice, 1))[0] for _ in range(2))
        themes, events = max(20, int(photos**0.5 / 4)), max(50, photos // 25)
        self._themes = 0.62 * self._drawn(dice, themes)
        shares = np.arange(1, themes + 1) ** -0.7
        self._theme = dice.choice(themes, events, p=shares / shares.sum())
        self._event_seeds = int(dice.integers(2**62))
        self._events = np.empty((events, dimensions), np.float16)
        for start in range(0, events, _CHUNK):
            part = slice(start, start + _CHUNK)
            own = self._drawn(np.random.default_rng((self._event_seeds, start)), len(self._theme[part]))
            self._events[part] = 0.5 * own
        sizes = dice.pareto(1.3, events) + 0.2
        self._event = dice.choice(events, photos, p=sizes / sizes.sum()).astype(np.int32)

    def chunks(self) -> Iterator[Floats]:
        """The photos' embeddings, float32[n, d] of unit length, in their order."""
        for start in range(0, self.photos, _CHUNK):
            events = self._event[start : start + _CHUNK]
            own = self._drawn(np.random.default_rng((self._seed, 1, start)), len(events))
            yield _unit(_MEAN * self._mean + self._scene(events) + 0.6 * own)

    def texts(self, count: int, seed: int = 1) -> Floats:
        """Texts about some of the photos: float32[n, d], unit length."""
        dice = np.random.default_rng((self._seed, 2, seed))
        events = self._event[dice.integers(0, self.photos, count)]
        theme = self._themes[self._theme[events]]
        said = 0.8 * theme + 0.3 * self._events[events].astype(np.float32) + 0.7 * self._drawn(dice, count)
        return _unit(1.2 * self._text_mean + 0.15 * self._mean + said)

    @property
    def themes(self) -> npt.NDArray[np.int64]:
        """The theme of each photo, int64[n]."""
        return self._theme[self._event]

    def events(self, share: float, seed: int = 1) -> npt.NDArray[np.int64]:
        """The places, int64[n], of the photos of so many events that they are about this share of all."""
        dice = np.random.default_rng((self._seed, 3, seed))
        sizes = np.bincount(self._event, minlength=len(self._theme))
        order = dice.permutation(len(sizes))
        chosen = order[: int(np.searchsorted(np.cumsum(sizes[order]), share * self.photos)) + 1]
        return np.flatnonzero(np.isin(self._event, chosen))

    def _scene(self, events: npt.NDArray[np.int32]) -> Floats:
        return self._themes[self._theme[events]] + self._events[events].astype(np.float32)

    def _drawn(self, dice: np.random.Generator, count: int) -> Floats:
        return np.asarray(dice.standard_normal((count, self.dimensions), np.float32) @ self._basis, np.float32)


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)

"""Which model questions are asked with, while the index changes from one to another."""

from __future__ import annotations

import contextlib
import threading

from search.catalog.model_records import ModelRecord
from search.errors import SightlineError
from search.questions import Questions


class Questioners:
    """The models of one engine. Safe to use from many threads."""

    def __init__(self, device: str, current: Questions | None = None) -> None:
        """Load models on `device` (`auto`, `cpu` or `cuda`), but for that of `current`, if that is the index's."""
        self._device = device
        self._lock = threading.Lock()
        self.current = current
        self._earlier: Questions | None = None  # for answers that began before another model was ready
        self._next: _NextModel | None = None

    @property
    def next_is_ready(self) -> bool:
        """Whether a model that was waited for may answer."""
        following = self._next
        return following is not None and following.is_ready

    def shown(self, active: ModelRecord) -> ModelRecord:
        """The model to answer with, where `active` is the one of the index: that which answered before goes on while
        another one is being loaded, so that no search waits for it."""
        with self._lock:
            now = self.current
            if now is None or now.model == active or not now.is_loaded:
                self._next = None
                return active
            if self._next is None or self._next.questions.model != active:
                self._next = _NextModel(Questions(active, self._device))
            if not self._next.is_ready:
                return now.model
            self._earlier, self.current, self._next = now, self._next.questions, None
            return active

    def of(self, model: ModelRecord) -> Questions:
        """What embeds questions with a model."""
        with self._lock:
            if self._earlier is not None and self._earlier.model == model:
                return self._earlier
            if self.current is None or self.current.model != model:
                self.current = Questions(model, self._device)
            return self.current


class _NextModel:
    """A model that is being loaded in a thread of its own."""

    def __init__(self, questions: Questions) -> None:
        self.questions = questions
        self._thread = threading.Thread(target=self._load, name="next-model", daemon=True)
        self._thread.start()

    @property
    def is_ready(self) -> bool:
        """Whether it is loaded, or cannot be; whoever asks it then is told why."""
        return not self._thread.is_alive()

    def _load(self) -> None:
        with contextlib.suppress(SightlineError):
            self.questions.warm()

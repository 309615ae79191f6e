"""How a run tells what it is doing; a terminal, a log or a page shows it as it likes."""

from __future__ import annotations

from typing import Protocol


class Preempted(Exception):
    """Something more urgent waits for the end of this run; raised by `advance`, it ends the run as if it were stopped,
    with what was done so far kept."""


class Progress(Protocol):
    """Hears of a run. Called from the run's own thread, often; it should return at once, or raise `Preempted`."""

    def stage(self, name: str, total: int | None) -> None:
        """A stage begins: `scan`, `load`, `embed` or `publish`, of `total` files where that is known, `balance`, of as
        many sentences, `words`, `tags`, `captions` or `text`, of as many photos, `vocabulary`, or `ask`, of as many
        questions; of verifying, backups and restoring others."""
        ...

    def advance(self, done: int, failed: int) -> None:
        """So much of the stage is done, of which so much has failed."""
        ...

    def say(self, sentence: str) -> None:
        """Something that a person should know."""
        ...


class Silent:
    """A `Progress` that shows nothing."""

    def stage(self, name: str, total: int | None) -> None:
        """Nothing."""

    def advance(self, done: int, failed: int) -> None:
        """Nothing."""

    def say(self, sentence: str) -> None:
        """Nothing."""

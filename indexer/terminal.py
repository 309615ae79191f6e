"""What a person sees on a terminal: a run as a live bar, or as plain lines now and then in a pipe or a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO
from unicodedata import category

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

_COMMANDS = ("Cc", "Cs", "Zl", "Zp")
_TURNS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_LINE_EVERY = 5.0  # seconds
_TITLES = {
    "words": "Writing words anew",
    "scan": "Scanning",
    "load": "Loading the model",
    "embed": "Indexing",
    "publish": "Publishing",
    "balance": "Measuring the library",
    "vocabulary": "Learning the concepts",
    "tags": "Tagging",
    "captions": "Writing captions",
    "text": "Reading text in pictures",
    "ask": "Asking",
    "backup": "Copying the catalog (MB)",
    "copy": "Copying the backup (MB)",
    "check": "Checking the backup",
    "pages": "Checking the catalog's pages",
    "rows": "Checking its rows",
    "links": "Checking how they hang together",
    "words_check": "Checking the words",
    "generations": "Checking the published vectors",
    "embeddings": "Checking embeddings",
    "thumbnails": "Checking thumbnails",
    "files": "Looking at the photos' files",
    "reading": "Reading the photos' files",
    "facts": "Reading photos again",
    "salvage": "Saving what can be read (pages)",
}


def printable(text: str) -> str:
    """`text` for a terminal, to which the control characters that a file name may hold are commands; marks that
    reverse the direction of writing could make a name look like another.
    """
    return "".join("\ufffd" if category(letter) in _COMMANDS or letter in _TURNS else letter for letter in text)


class TerminalProgress:
    """A `Progress` on a stream, by default stderr, with rate, time left and failures so far."""

    def __init__(self, stream: TextIO | None = None, *, live: bool = True) -> None:
        """Write to `stream`; a live bar where it is a terminal, unless that is not wanted."""
        self._stream = stream or sys.stderr
        self._live = live and self._stream.isatty()
        self._bar: Bar | None = None
        self._task: int | None = None
        self._title = ""
        self._total: int | None = None
        self._began = self._said = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def stage(self, name: str, total: int | None) -> None:
        """See `Progress.stage`."""
        self._title = _TITLES.get(name, name)
        self._total = total
        self._began = self._said = time.monotonic()
        if self._live:
            self._show(total)
        elif total:
            print(f"{self._title}: {total}", file=self._stream, flush=True)

    def advance(self, done: int, failed: int) -> None:
        """See `Progress.advance`."""
        rate = done / max(time.monotonic() - self._began, 1e-6)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, rate=_rate(rate), failed=_failed(failed))  # type: ignore[arg-type]
        elif done and not self._live and time.monotonic() - self._said >= _LINE_EVERY:
            self._said = time.monotonic()
            of = f" of {self._total}, about {minutes((self._total - done) / rate)} left" if self._total else ""
            print(f"{self._title}: {done}{of}, {_rate(rate)}{_failed(failed)}", file=self._stream, flush=True)

    def say(self, sentence: str) -> None:
        """See `Progress.say`."""
        if self._bar is not None:
            self._bar.console.print(printable(sentence), markup=False, highlight=False)
        else:
            print(printable(sentence), file=self._stream, flush=True)

    def _show(self, total: int | None) -> None:
        # Imported here: a run in a pipe, and one that finds nothing to do, need no bar.
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeRemainingColumn,
        )

        if self._bar is None:
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                TextColumn("[yellow]{task.fields[failed]}"),
                console=Console(file=self._stream),
                transient=True,
            )
            self._bar.start()
        for task in self._bar.task_ids:
            self._bar.remove_task(task)
        self._task = self._bar.add_task(self._title, total=total, rate="", failed="")


def _failed(count: int) -> str:
    return f", {count} failed" if count else ""


def _rate(rate: float) -> str:
    return f"{rate:.0f}/s" if rate >= 9.95 else f"{rate:.1f}/s"


def minutes(seconds: float) -> str:
    """A time that is left, as a person would say it."""
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"

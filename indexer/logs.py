"""What a process that lives long writes to stderr: lines for people, or one JSON object a line for programs.

Whatever a message, a warning or a traceback holds, no secret of this process stands in a line, and no line
can look like two: a client chooses what some of them quote.
"""

from __future__ import annotations

import io
import json
import logging
import os
import sys
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal, TextIO, get_args
from urllib.parse import quote, quote_plus

from indexer.terminal import TerminalProgress, printable

LogFormat = Literal["text", "json"]
LogLevel = Literal["error", "warning", "info", "debug"]
FORMAT, LEVEL = "SIGHTLINE_LOG_FORMAT", "SIGHTLINE_LOG_LEVEL"
_OF_THE_ENVIRONMENT = (
    "SIGHTLINE_TOKEN",
    "SIGHTLINE_OPENAI_KEY",
    "OPENAI_API_KEY",
    "SIGHTLINE_MILVUS_TOKEN",
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
)
_HIDDEN = "(secret)"
_SHORTEST = 4
"""A shorter one keeps nobody out, and stands in every other word."""


class _Formatter(logging.Formatter):
    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__()
        # Also as they stand in an address and among bytes; the longest first, for one may be a part of another.
        forms = {
            form
            for secret in secrets
            for form in (secret, quote(secret, safe=""), quote_plus(secret), repr(secret.encode())[2:-1])
        }
        self._secrets = sorted((form for form in forms if len(form) >= _SHORTEST), key=len, reverse=True)

    def hidden(self, text: str) -> str:
        """`text` without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        return text

    def trace(self, record: logging.LogRecord) -> str:
        """The traceback, and whose call it was, where the record has them."""
        parts = []
        if record.exc_info:
            parts.append(self.formatException(record.exc_info))
        if record.stack_info:
            parts.append(self.formatStack(record.stack_info))
        return self.hidden("\n".join(parts))


class TextFormatter(_Formatter):
    """Lines for people: `2026-11-22T07:52:05.123Z warning sightline.web: …`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and those of a traceback."""
        message = printable(self.hidden(record.getMessage()))
        lines = [f"{_time(record)} {record.levelname.lower()} {record.name}: {message}"]
        lines.extend(f"  {printable(line)}" for line in self.trace(record).splitlines())
        return "\n".join(lines)


class JsonFormatter(_Formatter):
    """One JSON object: `time`, `level`, `logger`, `message`, the record's own `fields`, and `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, in ASCII."""
        document: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self.hidden(record.getMessage()),
        }
        fields: Mapping[str, object] = getattr(record, "fields", {})
        document.update(
            {name: self.hidden(value) if isinstance(value, str) else value for name, value in fields.items()}
        )
        if trace := self.trace(record):
            document["exception"] = trace
        return json.dumps(document, default=str)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Stderr(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to what is stderr at that moment."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, stream: TextIO) -> None:
        pass


@dataclass
class _State:
    format: LogFormat = "text"
    level: LogLevel = "warning"
    handler: logging.Handler | None = None


_state = _State()


def set_up(format: LogFormat = "text", level: LogLevel | None = None, secrets: Iterable[str] = ()) -> None:
    """Let all loggers of this process write to stderr alike; in JSON, or where there are secrets, also its warnings,
    and what ends it.

    Args:
        format: lines for people, or JSON.
        level: from which level on; None: `info` in JSON, else `warning`. `debug` is that of all libraries, too.
        secrets: what must never stand there, beside what the environment holds of them.
    """
    level = level or ("info" if format == "json" else "warning")
    secrets = [one for one in (*secrets, *(os.environ.get(name) for name in _OF_THE_ENVIRONMENT)) if one]
    handler = _Stderr()
    handler.setFormatter(JsonFormatter(secrets) if format == "json" else TextFormatter(secrets))
    root = logging.getLogger()
    if _state.handler is not None:
        root.removeHandler(_state.handler)
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if level == "debug" else logging.WARNING)
    for name in ("sightline", "uvicorn"):
        logging.getLogger(name).setLevel(level.upper())
    _state.format, _state.level, _state.handler = format, level, handler
    if format == "json" or secrets:
        logging.captureWarnings(True)
        sys.excepthook = _uncaught
        sys.unraisablehook = lambda ignored: _uncaught(ignored.exc_type, ignored.exc_value, ignored.exc_traceback)
        threading.excepthook = lambda died: _uncaught(died.exc_type, died.exc_value, died.exc_traceback)


def told() -> dict[str, str]:
    """The environment variables by which a process that this one starts writes as it does: see `set_up_as_told`."""
    return {FORMAT: _state.format, LEVEL: _state.level}


def set_up_as_told() -> None:
    """As `set_up` was called in the process that started this one."""
    level = os.environ.get(LEVEL)
    known = get_args(LogLevel)
    set_up(
        "json" if os.environ.get(FORMAT) == "json" else "text", known[known.index(level)] if level in known else None
    )


def say(sentence: str, *, level: int = logging.ERROR) -> None:
    """Tell whoever looks at stderr, in the form that was set up."""
    if _state.format == "json":
        logging.getLogger("sightline").log(level, "%s", sentence)
    else:
        print(f"sightline: {printable(sentence)}", file=sys.stderr)


def progress(*, live: bool = True) -> TerminalProgress:
    """What shows a run on stderr, in the form that was set up."""
    if _state.format == "json":
        return TerminalProgress(_Lines(), live=False)
    return TerminalProgress(live=live)


class _Lines(io.StringIO):
    """A stream whose lines are messages."""

    def __init__(self) -> None:
        super().__init__()
        self._rest = ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            logging.getLogger("sightline.index").info("%s", line)
        return len(text)


def _uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if issubclass(kind, (KeyboardInterrupt, SystemExit)):
        return
    logging.getLogger("sightline").critical(
        "an error that was not expected: %s", kind.__name__, exc_info=(kind, error or kind(), trace)
    )

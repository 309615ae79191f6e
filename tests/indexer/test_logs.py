"""The form of the log: one line for one message, JSON where it is wanted, and no secret whatever a message quotes."""

from __future__ import annotations

import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from indexer import logs
from indexer.logs import JsonFormatter, TextFormatter

SECRET = "s3cret töken/+"


@pytest.fixture
def as_before() -> Iterator[None]:
    """What a test sets up of the process is taken back."""
    root = logging.getLogger()
    levels = {name: logging.getLogger(name).level for name in ("", "sightline", "uvicorn")}
    hooks, state = (sys.excepthook, threading.excepthook, sys.unraisablehook), logs._state
    if state.handler is not None:  # of a command that an earlier test has run in this process
        root.removeHandler(state.handler)
    logs._state = logs._State()
    yield
    logging.captureWarnings(False)
    if logs._state.handler is not None:
        root.removeHandler(logs._state.handler)
    if state.handler is not None:
        root.addHandler(state.handler)
    logs._state = state
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("sightline.web", logging.WARNING, __file__, 1, message, arguments, None)
    vars(made).update(extra)
    return made


def test_a_record_in_json_is_one_object_on_one_line() -> None:
    line = JsonFormatter([]).format(record("two\nlines of %s", "\udcff", fields={"status": 200, "path": "/a\nb"}))
    assert line.isascii() and "\n" not in line
    document = json.loads(line)
    assert document.pop("time").endswith("Z")
    assert document == {
        "level": "warning",
        "logger": "sightline.web",
        "message": "two\nlines of \udcff",
        "status": 200,
        "path": "/a\nb",
    }


def test_a_record_for_people_cannot_pretend_to_be_two() -> None:
    line = TextFormatter([]).format(record("GET /\n2026-01-01 error: forged \x1b[31m"))
    assert len(line.splitlines()) == 1 and "\x1b" not in line
    assert "Z warning sightline.web: GET /" in line


@pytest.mark.parametrize("kind", [JsonFormatter, TextFormatter])
@pytest.mark.parametrize(
    "form", [SECRET, "s3cret%20t%C3%B6ken%2F%2B", "s3cret+t%C3%B6ken%2F%2B", repr(SECRET.encode())[2:-1]]
)
def test_no_secret_stands_in_a_line(kind: type[logging.Formatter], form: str) -> None:
    made = record(f"in a message {form}", fields={"path": f"/{form}"})
    try:
        raise ValueError(f"in an error {form}")
    except ValueError:
        made.exc_info = sys.exc_info()
    text = kind([SECRET]).format(made)  # type: ignore[arg-type]
    assert "ValueError: in an error (secret)" in text
    for one in (form, json.dumps(form)[1:-1]):
        assert one not in text


def test_all_that_a_process_says_is_json_then(as_before: None, capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("json")
    with logs.progress() as progress:
        progress.stage("embed", 3)
        progress.say("A drive is away.")
    logs.say("That did not work.")
    logging.getLogger("sightline.web").info("a request")
    logging.getLogger("another.library").info("chatter")
    warnings.warn("something is old", DeprecationWarning, stacklevel=1)
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()
    try:
        raise KeyError("unexpected")
    except KeyError as error:
        sys.excepthook(KeyError, error, error.__traceback__)
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(one["level"], one["logger"]) for one in said] == [
        ("info", "sightline.index"),
        ("info", "sightline.index"),
        ("error", "sightline"),
        ("info", "sightline.web"),
        ("warning", "py.warnings"),
        ("critical", "sightline"),
        ("critical", "sightline"),
    ]
    assert [one["message"] for one in said[:3]] == ["Indexing: 3", "A drive is away.", "That did not work."]
    assert "ZeroDivisionError" in said[5]["exception"] and "KeyError: 'unexpected'" in said[6]["exception"]


def test_for_people_it_stays_as_it_was(as_before: None, capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up()
    logs.say("That did not work.")
    with logs.progress() as progress:
        progress.stage("embed", 3)
    logging.getLogger("sightline.web").info("a request")
    assert capsys.readouterr().err == "sightline: That did not work.\nIndexing: 3\n"


def test_a_process_that_is_started_writes_as_the_one_that_starts_it(
    as_before: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.set_up("json", "debug")
    for name, value in logs.told().items():
        monkeypatch.setenv(name, value)
    logs.set_up()
    logs.set_up_as_told()
    assert (logs._state.format, logs._state.level) == ("json", "debug")


def test_what_ends_a_process_says_no_secret_to_people_either(
    as_before: None, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.set_up("text", secrets=[SECRET])
    error = ValueError(f"it was {SECRET}")
    sys.excepthook(ValueError, error, None)
    thread = threading.Thread(target=int, args=(SECRET,))
    thread.start()
    thread.join()

    class Odd:
        def __del__(self) -> None:
            raise error

    Odd()
    said = capsys.readouterr().err
    assert said.count("ValueError: ") == 3 and said.count("(secret)") >= 3 and SECRET not in said


def test_a_field_that_is_no_json_is_its_text() -> None:
    assert json.loads(JsonFormatter([]).format(record("one", fields={"path": Path("x")})))["path"] == "x"

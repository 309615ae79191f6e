"""What the tests of faults share, and the table of what they tried: the one of docs/reliability.md.

    SIGHTLINE_FAULTS=500 python -m pytest tests/faults

tries each fault so many times, instead of as few as the suite has time for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from victims import Nursery

_TRIED: dict[str, int] = {}


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    with Nursery() as nursery:
        yield nursery


@pytest.fixture(scope="session")
def times() -> Callable[[int], int]:
    """How often to try something: as asked for, else so often."""
    asked = os.environ.get("SIGHTLINE_FAULTS")
    return lambda few: int(asked) if asked else few


@pytest.fixture(scope="session")
def tried() -> Callable[[str], None]:
    """Counts a try of a fault, by what it is called in the table."""

    def count(fault: str) -> None:
        _TRIED[fault] = _TRIED.get(fault, 0) + 1

    return count


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _TRIED and "SIGHTLINE_FAULTS" in os.environ:
        terminalreporter.section("faults tried")
        for fault, count in sorted(_TRIED.items()):
            terminalreporter.write_line(f"{count:>6}  {fault}")

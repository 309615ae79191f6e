"""What a run tells on a terminal or into a pipe."""

from __future__ import annotations

import io

import pytest

from indexer.terminal import TerminalProgress


@pytest.mark.parametrize(("done", "told"), [(32, "32 of 61, about 2 min left, 0.3/s"), (1000, "10/s"), (5000, "50/s")])
def test_slow_rates_have_a_digit_more(monkeypatch: pytest.MonkeyPatch, done: int, told: str) -> None:
    clock = iter([0.0, 0.0, 100.0, 100.0, 100.0])
    monkeypatch.setattr("indexer.terminal.time.monotonic", lambda: next(clock))
    stream = io.StringIO()
    progress = TerminalProgress(stream)
    progress.stage("captions", 61 if done < 61 else None)
    progress.advance(done, 0)
    assert stream.getvalue().splitlines()[-1] == f"Writing captions: {told if done < 61 else f'{done}, {told}'}"

"""What embedding costs is measured in the run itself."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from support import picture

from indexer import measure
from indexer.report import IndexOptions
from indexer.run import run_index
from search.catalog import model_records, pace
from search.catalog.connection import connect_to_read
from search.catalog.pace import Pace
from search.home import Home

pytestmark = pytest.mark.usefixtures("loaded_once")


def kept(home: Home) -> Pace | None:
    with closing(connect_to_read(home)) as connection:
        model = model_records.active(connection)
        assert model is not None
        return pace.last(connection, model.key)


def test_a_run_keeps_what_a_photo_cost_if_it_embedded_enough(
    home: Home, tmp_path: Path, tiny_checkpoint: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(6):
        picture(photos / f"{number}.jpg", number)
    options = IndexOptions(model=tiny_checkpoint(), captions="off", device="cpu")
    run_index(home, [photos], options)
    assert kept(home) is None  # six photos say too little

    monkeypatch.setattr(measure, "_ENOUGH", 6)
    for number in range(6):
        picture(photos / f"{number}.jpg", 100 + number)
    report = run_index(home, [photos], options)
    found = kept(home)
    assert found is not None and 0 < found.share <= 1 and found.precision in ("fp32", "bf16")
    assert found.seconds == pytest.approx(report.stages["embed"] / 6, rel=0.5)

    # Files that were only moved cost next to nothing, and would make a photo look cheap.
    (photos / "new.jpg").write_bytes((photos / "0.jpg").read_bytes())
    picture(photos / "1.jpg", 300)
    run_index(home, [photos], options)
    assert kept(home) == found

"""Parts of photos to search by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from support import small_file_room

from indexer.decoding.decoders import Decoders
from indexer.decoding.tasks import _square
from web.parts import Box, Liked, liked

ID = "0" * 32


def test_a_photo_or_a_part_of_it_is_named() -> None:
    assert liked(ID) == Liked(ID)
    assert liked(f"{ID}@0,0.25,1,0.5") == Liked(ID, (0.0, 0.25, 1.0, 0.5))


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0.4, 0.4, 0.6, 0.6), (400, 150, 600, 350)),  # 200 by 100 pixels, widened downwards and upwards alike
        ((0.4, 0.0, 0.6, 0.2), (400, 0, 600, 200)),  # at the upper edge: moved into the photo
        ((0.9, 0.2, 1.0, 0.8), (700, 100, 1000, 400)),  # at the right edge
        ((0.0, 0.4, 1.0, 0.5), (0, 0, 1000, 500)),  # wider than the photo is high: as far as it goes
        ((0.0, 0.0, 1.0, 1.0), (0, 0, 1000, 500)),
    ],
)
def test_a_part_is_widened_to_a_square_as_far_as_the_photo_goes(box: Box, expected: tuple[int, ...]) -> None:
    assert _square(box, 1000, 500) == expected


def test_a_large_photo_has_room_in_memory_while_a_part_of_it_is_cut(
    client: TestClient, hits: dict[str, dict[str, Any]], sample_photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_file_room(monkeypatch) as room:
        held: list[int] = []
        decoded = Decoders.picture

        def decoding(*arguments: Any, **named: Any) -> Any:
            held.append(room.held)
            return decoded(*arguments, **named)

        monkeypatch.setattr(Decoders, "picture", decoding)
        answer = client.post("/api/search", data={"like": f"{hits['chelsea.png']['id']}@0.1,0.1,0.6,0.7"})
        assert answer.status_code == 200
    assert (held, room.sizes) == ([1], [(sample_photos / "chelsea.png").stat().st_size])

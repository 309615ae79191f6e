"""What every captioner can do, whatever is behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from PIL import Image


@dataclass(frozen=True)
class Caption:
    """A sentence about a photo: its `text`, and `confidence`, the mean log probability of its tokens."""

    text: str
    confidence: float


class Captioner(Protocol):
    """Writes captions for photos, many at a time."""

    name: str

    def caption(self, images: list[Image.Image]) -> list[Caption]:
        """One caption for each photo, in their order."""
        ...

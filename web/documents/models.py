"""The documents about models."""

from __future__ import annotations

from pydantic import Field

from web.documents.document import Document


class IndexModel(Document):
    """The model that the index uses."""

    model: str
    fingerprint: str


class PresetChoice(Document):
    """A model to choose, and what it would cost to change this library to it."""

    name: str
    open_clip_name: str
    purpose: str
    installed: bool = Field(description="Whether it is on this machine.")
    used: bool = Field(description="Whether the index uses it.")
    photos_to_embed: int | None = Field(description="Photos that it has not embedded; `null` without an index.")
    download_bytes: int = Field(description="About; 0 where it is installed.")
    seconds: float | None = Field(
        description="About, to embed those photos here; `null` where nothing was measured that tells it."
    )


class ModelChoices(Document):
    """The models to choose from."""

    index: IndexModel | None = Field(description="`null` before the first photo is embedded.")
    presets: list[PresetChoice]

"""What all documents share."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

PHOTO_ID = "9f2c4be1d06a4f7d8e3b5a60c1d2e3f4"
"""Of the examples."""


class Document(BaseModel):
    """Base of every answer: a field that is not described here is a mistake."""

    model_config = ConfigDict(extra="forbid")

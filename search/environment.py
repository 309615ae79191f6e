"""Settings that environment variables change: what all kinds of them have in common.

Pydantic alone: importing pydantic-settings takes longer than a search of a small library.
"""

from __future__ import annotations

import os
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from search.errors import SettingsError


class EnvironmentSettings(BaseModel):
    """Settings of which each field is read from a prefix and its name in capitals; an empty variable is none.

    Attributes:
        kind: what they are settings of, for sentences.
        prefix: what the names of their variables begin with.
    """

    kind: ClassVar[str]
    prefix: ClassVar[str]
    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def read(cls) -> Self:
        """The settings that the environment gives.

        Raises:
            SettingsError: a variable has a value that cannot be, or names no setting.
        """
        given: dict[str, str] = {}
        for name, value in os.environ.items():
            if not name.upper().startswith(cls.prefix):
                continue
            field = name[len(cls.prefix) :].lower()
            if field not in cls.model_fields:
                raise SettingsError(f"There is no {cls.kind} setting {name}; docs/settings.md lists those there are.")
            if value:
                given[field] = value
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            name, wrong = cls.prefix + str(first["loc"][-1]).upper(), first["msg"].replace("Input", "it", 1)
            raise SettingsError(
                f"{name} cannot be “{first['input']}”: {wrong}. Correct the variable, or unset it for the default."
            ) from None

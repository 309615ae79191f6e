"""Settings that environment variables change: what all kinds of them have in common."""

from __future__ import annotations

import os
from typing import ClassVar, Self

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from search.errors import SettingsError


class EnvironmentSettings(BaseSettings):
    """Settings of which each field is read from a prefix and its name in capitals.

    Attributes:
        kind: what they are settings of, for sentences.
    """

    kind: ClassVar[str]

    @classmethod
    def read(cls) -> Self:
        """The settings that the environment gives.

        Raises:
            SettingsError: a variable has a value that cannot be, or names no setting.
        """
        prefix = cls.model_config["env_prefix"]
        for name in os.environ:
            if name.upper().startswith(prefix) and name[len(prefix) :].lower() not in cls.model_fields:
                raise SettingsError(f"There is no {cls.kind} setting {name}; docs/settings.md lists those there are.")
        try:
            return cls()
        except ValidationError as error:
            first = error.errors()[0]
            name, wrong = prefix + str(first["loc"][-1]).upper(), first["msg"].replace("Input", "it", 1)
            raise SettingsError(
                f"{name} cannot be “{first['input']}”: {wrong}. Correct the variable, or unset it for the default."
            ) from None

"""Where vectors are kept: beside the catalog (`faiss`), or in Milvus, as an address says."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from search.errors import SettingsError

LOCAL = "faiss"
"""What `--vectors` says where there is no Milvus."""
TOKEN_VARIABLE = "SIGHTLINE_MILVUS_TOKEN"
DEFAULT_NAME = "sightline"
_PREFIX = "milvus:"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_FOLDER = re.compile(rf"{_PREFIX}[~./](?!/)")


@dataclass(frozen=True)
class Address:
    """A Milvus, and the name under which readers find the collection there.

    Attributes:
        uri: `http://…`, `https://…`, or the absolute path of a folder `….db` of milvus-lite.
        name: an alias: which collection it stands for is changed at once, when another one is complete.
    """

    uri: str
    name: str = DEFAULT_NAME

    def __str__(self) -> str:
        return f"{_PREFIX}{self.uri}" + (f"#{self.name}" if self.name != DEFAULT_NAME else "")

    @classmethod
    def parse(cls, text: str) -> Address | None:
        """The address that `--vectors` names; None for `faiss`.

        Raises:
            SettingsError: it is neither.
        """
        if text == LOCAL:
            return None
        if "@" in text and not _FOLDER.match(text):
            # Not quoted: it would stand in logs and in lists of processes.
            raise SettingsError(
                f"The address of Milvus has a user or a password in it; put USER:PASSWORD into {TOKEN_VARIABLE} "
                "instead, and write milvus:http://HOST:19530."
            )
        if not text.startswith(_PREFIX):
            raise SettingsError(
                f"Vectors cannot be kept in “{text}”; say {LOCAL}, milvus:http://HOST:19530 or milvus:/FOLDER/NAME.db."
            )
        uri, _, name = text.removeprefix(_PREFIX).partition("#")
        if not _NAME.fullmatch(name or DEFAULT_NAME):
            raise SettingsError(
                f"No collection can be called “{name}”; take up to 64 letters, digits and underscores, and no digit "
                "first."
            )
        return cls(_checked_url(uri) if "://" in uri else _checked_folder(uri), name or DEFAULT_NAME)


def token() -> str:
    """What Milvus asks for, `USER:PASSWORD` or an API key; '' where nothing is set."""
    return os.environ.get("SIGHTLINE_MILVUS_TOKEN", "")


def _checked_url(uri: str) -> str:
    try:
        parts = urlsplit(uri)
        parts.port  # noqa: B018  # reading it checks it
    except ValueError:
        raise SettingsError("The address of Milvus is no URL; write milvus:http://HOST:19530.") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError(f"“{uri}” is no address of Milvus; write milvus:http://HOST:19530.")
    return uri.rstrip("/")


def _checked_folder(path: str) -> str:
    if not path.endswith(".db"):
        raise SettingsError(
            f"“{path}” is no address of Milvus; write milvus:http://HOST:19530, or milvus:/FOLDER/NAME.db for "
            "milvus-lite."
        )
    return str(Path(os.path.expanduser(path)).absolute())

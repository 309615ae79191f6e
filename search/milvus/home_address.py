"""Which Milvus a home keeps its vectors in, as its catalog says; every run asks, so that this imports nothing large."""

from __future__ import annotations

import secrets
import sqlite3

from search.catalog import settings
from search.milvus.address import LOCAL, Address

_IDENTITY, _ADDRESS = "milvus_id", "vectors"


def remembered(connection: sqlite3.Connection) -> Address | None:
    """Where the home keeps its vectors; None for beside the catalog.

    Raises:
        SettingsError: the catalog says something that cannot be.
    """
    return Address.parse(settings.get(connection, _ADDRESS) or LOCAL)


def remember(connection: sqlite3.Connection, vectors: str) -> None:
    """Keep the vectors of this home there from now on, `faiss` or an address; in the caller's transaction.

    Raises:
        SettingsError: it is neither.
    """
    address = Address.parse(vectors)
    settings.put(connection, _ADDRESS, LOCAL if address is None else str(address))
    if address is not None and identity(connection) is None:
        settings.put(connection, _IDENTITY, secrets.token_hex(8))


def identity(connection: sqlite3.Connection) -> str | None:
    """By what the collections of this home are told from those of others; None where it never had any."""
    return settings.get(connection, _IDENTITY)

"""Addresses of libraries in an object storage: which can be, and what fsspec makes of them."""

from __future__ import annotations

import contextlib
import functools
import os
import re
from typing import Any

from search.catalog import paths
from search.errors import SightlineError

_BASE = re.compile(rb"([a-z][a-z0-9+.-]*)://([^/]*)")
# A colon, then an `@`; keys of Amazon have slashes. The colon may also be that of a port or of an ARN.
_PASSWORD = re.compile(rb"[^/@]*:[^/]*@|(?!arn:)[^/@:]*:(?!\d+(?:/|$))[^@]*@")
_WITHOUT_CACHE = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"})
_LOCAL = frozenset({"file", "local"})
# A request that is not answered fails soon, and is tried once more; without these it would take minutes.
_S3 = {"connect_timeout": 5, "read_timeout": 30, "retries": {"max_attempts": 2, "mode": "standard"}}


def base_of(path: bytes) -> bytes:
    """What stands before the first folder: `s3://bucket`."""
    found = _BASE.match(path)
    assert found is not None, "it is no address"
    return found[0]


def checked_root(named: bytes) -> bytes:
    """The address of a library as it is kept, of what a person has `named`.

    Raises:
        SightlineError: it is no address that can be, or there is nothing to read it with. Nobody is asked whether there
            is anything at it.
    """
    protocol, _, rest = named.partition(b"://")
    root = protocol.lower() + b"://" + rest.rstrip(b"/")
    shown = paths.display(root)
    place = rest.partition(b"/")[0]
    if _PASSWORD.match(rest):
        # Never repeated: it would stand in the terminal, the log, the catalog.
        raise SightlineError(
            f"The address of {protocol.decode()}:// holds a password: leave it out, and give it as its library expects "
            "it, by environment variables or a configuration file (docs/object-storage.md)."
        )
    if not place or "::" in shown:
        raise SightlineError(f"{shown} is no address: name it as in s3://bucket/folder.")
    if any(part in (b"", b".", b"..") for part in rest.rstrip(b"/").split(b"/")) or b"\0" in root:
        raise SightlineError(f"{shown} is no address: name its folders, without an empty one, “.” or “..”.")
    if protocol.lower().decode() in _LOCAL:
        raise SightlineError(f"{shown} lies on this machine: name the folder itself.")
    with contextlib.suppress(OSError):  # one that connects at once, and may be away
        system_of(base_of(root))
    return root


@functools.lru_cache(64)
def system_of(base: bytes) -> tuple[Any, str]:
    """Fsspec's file system for `s3://bucket`, and what it calls that.

    Raises:
        SightlineError: there is no library for it.
    """
    import fsspec
    from fsspec.config import conf
    from fsspec.registry import known_implementations

    protocol = base.partition(b"://")[0].decode()
    # What others write is to be seen: nothing is remembered of what was listed. Not every file system takes this.
    options: dict[str, Any] = {"use_listings_cache": False} if protocol in _WITHOUT_CACHE else {}
    if protocol in ("s3", "s3a") and "config_kwargs" not in conf.get("s3", {}):
        options["config_kwargs"] = _S3
    try:
        system, inner = fsspec.core.url_to_fs(os.fsdecode(base), **options)
    except ImportError as error:
        ways = {"s3": "pip install 'sightline[scale]'", "s3a": "pip install 'sightline[scale]'"}
        hint = known_implementations.get(protocol, {}).get("err", "").rstrip(".")
        way = f"`{ways[protocol]}`" if protocol in ways else hint or str(error).rstrip(".")
        raise SightlineError(f"{protocol}:// needs a library that is not installed: {way}.") from error
    except ValueError as error:
        raise SightlineError(
            f"{protocol}:// is no protocol that is known here: s3, gs and az are, and others of fsspec."
        ) from error
    except (TypeError, AttributeError) as error:  # one that wants more than an address
        raise SightlineError(
            f"{protocol}:// cannot hold a library: what fsspec needs to know of it is more than an address says."
        ) from error
    return system, inner

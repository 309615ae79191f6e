"""How a server is to run: where it listens, who may ask, and how much it takes in."""

from __future__ import annotations

from dataclasses import dataclass

from search.milvus.address import Address

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class ServerSettings:
    """Settings of one server.

    Attributes:
        host: the address to listen on. The default is reachable from this machine alone.
        port: the port to listen on; 0 lets the system choose a free one.
        token: when set, every path but `/healthz` asks for it.
        max_upload_bytes: the most bytes that a picture to search by may have.
        max_upload_pixels: the most pixels that such a picture may decode to.
        allowed_hosts: names, beside loopback and `host`, that the `Host` header may carry.
        watch: whether a process beside the server follows the folders.
        every: seconds after which it looks through all of them; None: a day, or never where it does not `watch`.
        poll: whether it asks the folders for changes.
        vectors: the collection in Milvus that a node answers from; None for a home's own catalog.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    max_upload_bytes: int = 32 * MEBIBYTE
    max_upload_pixels: int = 100_000_000
    allowed_hosts: tuple[str, ...] = ()
    watch: bool = False
    every: float | None = None
    poll: bool = False
    vectors: Address | None = None

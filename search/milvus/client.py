"""Speaking with Milvus: no call waits for long, and what goes wrong becomes a sentence."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from search.errors import DeniedError, MilvusError, SightlineError, UnreachableError
from search.milvus.address import TOKEN_VARIABLE, Address, token

if TYPE_CHECKING:
    from pymilvus import MilvusClient

Row = dict[str, Any]
Result = TypeVar("Result")

MOST = 16_384
"""Hits of one search, and rows of one query, that a server gives at most: its `maxQueryResultWindow`."""
CONNECT_SECONDS, READ_SECONDS, WRITE_SECONDS, LOAD_SECONDS = 4.0, 10.0, 60.0, 600.0
"""pymilvus tries again until then; without a limit it would try 75 times, each with a longer pause."""
_AT_ONCE = 8_192  # rows of those that are read one after the other
_NOT_LOADED = 101
_UNREACHABLE = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "Fail connecting", "channel", "Connection refused")
_DENIED = ("auth check failure", "UNAUTHENTICATED", "PERMISSION_DENIED", "PermissionDenied", "permission deny")
_REFUSING = ("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "OUT_OF_RANGE", "UNIMPLEMENTED")
"""Answers of gRPC that come from a server which is there."""


class Server:
    """One Milvus. Safe to use from many threads.

    >>> with Server.connect(Address("http://127.0.0.1:19530")) as server:   # doctest: +SKIP
    ...     server.count("photos")
    """

    def __init__(self, address: Address, client: MilvusClient) -> None:
        """Use `connect`."""
        self.address = address
        self._client = client
        self._loading = threading.Lock()

    @classmethod
    def connect(cls, address: Address) -> Server:
        """The Milvus at `address`.

        Raises:
            UnreachableError: nothing answers there.
            MilvusError: it refuses, or the packages to speak with it are not installed.
        """
        try:
            from pymilvus import MilvusClient
        except ImportError:
            raise MilvusError(
                "Vectors in Milvus need the package pymilvus: run `pip install 'sightline[scale]'`."
            ) from None
        # It writes each error to stderr, with a traceback, before whoever called can say it in a sentence.
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL + 1)
        if "://" not in address.uri:
            _prepare_folder(address)

        def made() -> MilvusClient:
            return MilvusClient(address.uri, token=token(), timeout=CONNECT_SECONDS)

        return cls(address, _told(address, made))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def call(self, method: str, *args: Any, timeout: float = READ_SECONDS, **options: Any) -> Any:
        """A method of `pymilvus.MilvusClient`.

        Raises:
            UnreachableError: there was no answer within `timeout` seconds.
            DeniedError: the token does not do.
            MilvusError: it refuses.
        """
        return _told(self.address, lambda: getattr(self._client, method)(*args, timeout=timeout, **options))

    def read(self, method: str, collection: str, **options: Any) -> Any:
        """As `call`, for `search`, `query` and the like of a collection, which is loaded first where it is not: a
        server that was started anew may have forgotten."""
        try:
            return self.call(method, collection, **options)
        except MilvusError as error:
            cause = error.__cause__
            if getattr(cause, "code", None) != _NOT_LOADED and "not loaded" not in str(cause):
                raise
        self.load(collection)
        return self.call(method, collection, **options)

    def create(self, collection: str, schema: Any, indexes: Any, consistency: str) -> None:
        """Make a collection of a `pymilvus` schema, with these indexes, and let it answer. It is not there when this
        fails."""
        try:
            self.call(
                "create_collection", collection, schema=schema, consistency_level=consistency, timeout=WRITE_SECONDS
            )
            # Nobody waits for them: what is empty has nothing to build, and what comes is built as it comes.
            self.call("create_index", collection, indexes, sync=False, timeout=WRITE_SECONDS)
            self.load(collection)
        except BaseException:
            with suppress(MilvusError):
                self.call("drop_collection", collection)
            raise

    def load(self, collection: str) -> None:
        """Let a collection answer."""
        with self._loading:
            self.call("load_collection", collection, timeout=LOAD_SECONDS)

    def rows(self, collection: str, condition: str, fields: Sequence[str], consistency: str = "Strong") -> list[Row]:
        """The rows that meet a condition, which must not be more than `MOST`, in any order."""
        found = self.read(
            "query",
            collection,
            filter=condition,
            output_fields=list(fields),
            limit=MOST,
            consistency_level=consistency,
        )
        return [dict(row) for row in found]

    def all_rows(
        self, collection: str, condition: str, fields: Sequence[str], consistency: str, at_once: int = _AT_ONCE
    ) -> list[Row]:
        """As `rows`, however many they are, so many in one answer."""
        rows = self.read(
            "query_iterator",
            collection,
            batch_size=at_once,
            filter=condition,
            output_fields=list(fields),
            consistency_level=consistency,
        )
        found: list[Row] = []
        try:
            while some := _told(self.address, rows.next):
                found += [dict(row) for row in some]
        finally:
            rows.close()
        return found

    def count(self, collection: str, condition: str = "", consistency: str = "Strong") -> int:
        """How many rows meet a condition; all without one."""
        found = self.read(
            "query",
            collection,
            filter=condition,
            output_fields=["count(*)"],
            consistency_level=consistency,
        )
        return int(found[0]["count(*)"])


def _prepare_folder(address: Address) -> None:
    try:
        Path(address.uri).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MilvusError(f"The folder of {address} cannot be made: {error.strerror}.") from error
    # The server runs in this process, and writes of what it does not know with a traceback.
    for name in ("grpc._server", "milvus_lite"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        import milvus_lite  # noqa: F401
    except ImportError:
        raise MilvusError(
            f"{address} is a folder of milvus-lite, which is not installed: run `pip install --no-deps milvus-lite`, "
            "or name a server, milvus:http://HOST:19530."
        ) from None


def _told(address: Address, call: Callable[[], Result]) -> Result:
    """What `call` returns; its errors as sentences, without what was sent."""
    import grpc
    from pymilvus.exceptions import MilvusException

    try:
        return call()
    except SightlineError:
        raise
    except (MilvusException, grpc.RpcError, OSError, RuntimeError, ValueError) as error:
        said = " ".join(str(getattr(error, "message", None) or error).split())
        status, details = _answered(error)
        if status in _DENIED or (isinstance(error, MilvusException) and any(word in said for word in _DENIED)):
            raise DeniedError(
                f"Milvus at {address} does not let this program in; set {TOKEN_VARIABLE} to USER:PASSWORD or a key."
            ) from error
        if status in _REFUSING:
            raise MilvusError(f"Milvus at {address} refuses: {details[:300]}.") from error
        unreachable = isinstance(error, grpc.RpcError) or not isinstance(getattr(error, "code", None), int)
        if unreachable or any(word in said for word in _UNREACHABLE):
            raise UnreachableError(
                f"Milvus at {address} does not answer; start it, or see that the address is right."
            ) from error
        if "://" not in address.uri and "Open local milvus failed" in said:
            raise MilvusError(
                f"{address} cannot be opened. If another program has it open, which milvus-lite allows to one at a "
                "time, stop that one, or run `milvus-lite server` and name its address."
            ) from error
        raise MilvusError(f"Milvus at {address} refuses: {said[:300]}.") from error


def _answered(error: BaseException | None) -> tuple[str, str]:
    """The status of gRPC behind an error, and what was said; pymilvus tells a connection that was refused as one that
    failed."""
    import grpc

    # It also raises errors as their own causes.
    while error is not None and not isinstance(error, grpc.RpcError) and error.__cause__ is not error:
        error = error.__cause__
    if not isinstance(error, grpc.RpcError):
        return "", ""
    code, details = getattr(error, "code", None), getattr(error, "details", None)
    if not callable(code) or not callable(details):
        return "", ""
    return str(code().name), " ".join(str(details()).split())

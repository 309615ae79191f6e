"""A Milvus to test with: milvus-lite's server, which the same client speaks with as with a cluster."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Self

from search.errors import UnreachableError
from search.milvus.address import Address
from search.milvus.client import Server

_PATIENCE = 30.0


def free_port() -> int:
    """A port that nobody listens on."""
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class MilvusLite:
    """A server over one folder; it may be killed, and started anew at the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._names = itertools.count()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def uri(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def vectors(self) -> str:
        """What `--vectors` takes: this server, and a name that no other test has."""
        return f"milvus:{self.uri}#test_{next(self._names)}"

    def address(self) -> Address:
        """The same, read."""
        found = Address.parse(self.vectors())
        assert found is not None
        return found

    def start(self) -> None:
        """Start it, and wait until it answers."""
        program = "import sys; from milvus_lite.cmdline import main; sys.exit(main())"
        arguments = ["server", "--data-dir", str(self.folder), "--host", "127.0.0.1", "--port", str(self.port)]
        with open(self.folder.parent / f"{self.folder.name}.log", "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", program, *arguments],
                stdout=log,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        until = time.monotonic() + _PATIENCE
        while True:
            assert self._process.poll() is None, "milvus-lite's server has ended"
            # pymilvus waits for a server that is about to listen.
            with suppress(UnreachableError), Server.connect(Address(self.uri)) as server:
                server.call("list_collections")
                return
            assert time.monotonic() < until

    def kill(self) -> None:
        """End it as `kill -9` does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

"""A server for a test: `serve` in a process of its own, on a free port, stopped as a user would stop it."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from search.home import Home

_PROGRAM = """
import json, sys
from pathlib import Path
from search.home import Home
from web.server import serve
from web.settings import ServerSettings
for module, names in json.loads(sys.argv[3]).items():
    vars(__import__(module, fromlist=["*"])).update(names)
serve(Home(Path(sys.argv[1])), ServerSettings(port=int(sys.argv[2])), lambda address: print(address, flush=True))
"""


@contextlib.contextmanager
def server_process(
    home: Home, port: int = 0, *, constants: dict[str, dict[str, float]] | None = None, log: Path | None = None
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Serves `home` meanwhile; gives the process and the address, and kills it in the end.

    Args:
        home: what to serve.
        port: where; 0 takes a free one.
        constants: of modules, by their names, that are others there: nobody should wait a minute in a test.
        log: where its log goes.
    """
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", _PROGRAM, str(home.path), str(port), json.dumps(constants or {})]
    with contextlib.ExitStack() as stack:
        stderr = stack.enter_context(log.open("w")) if log else None
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=root)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http://"), "the server did not start"
        yield process, address
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@contextlib.contextmanager
def running_server(home: Home, port: int = 0) -> Iterator[str]:
    """Serves `home` meanwhile; gives the address. Ends with an assertion that Ctrl-C stops it cleanly."""
    with server_process(home, port) as (process, address):
        yield address
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0

"""Runs the web application until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Callable

import uvicorn
from threadpoolctl import threadpool_limits

from search.errors import SightlineError
from search.home import Home
from web.app import create_app
from web.connections import Connection, look_after, said_once_a_minute
from web.settings import ServerSettings

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

WAITING_CONNECTIONS = 2048
"""Connections that the system holds until they are accepted."""
MOST_CONNECTIONS = 1024
FILES_BESIDE = 192
"""Files that the server may have open beside its connections: of the index, photos, uploads, pipes to processes."""


def address_of(host: str, port: int) -> str:
    """The address to type into a browser on this machine."""
    if host in ("", "0.0.0.0", "::"):
        host = "127.0.0.1"
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def listen(settings: ServerSettings) -> socket.socket:
    """A socket that listens where the settings say.

    Raises:
        SightlineError: the port is taken or not allowed, or the host is not an address of this machine.
    """
    host, port = settings.host, settings.port
    if not 0 <= port <= 65535:
        raise SightlineError(f"{port} is not a port: give --port a number from 1 to 65535.")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        return socket.create_server((str(address[0]), port), family=family, backlog=WAITING_CONNECTIONS)
    except (socket.gaierror, UnicodeError) as error:
        raise SightlineError(
            f"The host {host!r} cannot be found. Use --host 127.0.0.1 for this machine alone, or --host "
            "0.0.0.0 for its network."
        ) from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise SightlineError(
                f"Port {port} on {host} is taken, perhaps by another `sightline serve`. Stop that one, or "
                f"choose another port: --port {port + 1}."
            ) from error
        if error.errno == errno.EACCES:
            raise SightlineError(f"Port {port} needs more rights; choose one above 1023: --port 8000.") from error
        if error.errno == errno.EADDRNOTAVAIL:
            raise SightlineError(
                f"{host} is not an address of this machine. Use --host 127.0.0.1 for this machine alone, or "
                "--host 0.0.0.0 for its network."
            ) from error
        raise SightlineError(f"The server cannot listen on {host}, port {port}: {error.strerror}.") from error


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self.on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        for listener in sockets or []:
            listener.listen(WAITING_CONNECTIONS)
        asyncio.get_running_loop().set_exception_handler(said_once_a_minute())
        if self.started:
            self.on_started()

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:  # it comes ten times a second
            look_after(self.server_state.connections)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.config.app.state.stop_soon()  # type: ignore[union-attr]
        await super().shutdown(sockets=sockets)


def _share_processors() -> None:
    """Let many searches compute side by side, and beside other programs.

    Threads that wait for each other by spinning cost twenty times the work as soon as a core is busy with something
    else. So those of a model wait asleep (a setting that its library reads when it is loaded, later than this), and
    NumPy's products, which are small here, take no threads.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    threadpool_limits(1, user_api="blas")


def _most_connections() -> int:
    """How many connections may be served at a time; twice as many may be open, and files as well.

    The limit of open files is raised as far as the system lets us: many set one of a thousand for old programs' sake.
    """
    if resource is None:
        return MOST_CONNECTIONS // 2
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MOST_CONNECTIONS + FILES_BESIDE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else max(16, min(wanted, soft) - FILES_BESIDE) // 2


def serve(home: Home, settings: ServerSettings, on_ready: Callable[[str], None] | None = None) -> None:
    """Serve the page and the API until interrupted; prints nothing itself.

    Args:
        home: whose photos to search; the index may appear later.
        settings: where to listen, and the limits.
        on_ready: called once with the page's address (such as `http://127.0.0.1:8000/`, without the token) as
            soon as requests are answered.

    Raises:
        SettingsError: an environment variable of ranking has a value that cannot be.
        SightlineError: the port cannot be listened on.
    """
    listener = listen(settings)
    _share_processors()
    try:
        address = address_of(settings.host, listener.getsockname()[1])
        config = uvicorn.Config(
            create_app(home, settings),
            # Whoever runs this decides what is written where; requests are logged by the application.
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=3,
            http=Connection,
            ws="none",
            limit_concurrency=_most_connections(),
            # asyncio accepts so many before it looks at any; how many may wait for that is said to the system alone.
            backlog=16,
            lifespan="on",
        )
        server = _Server(config, lambda: on_ready(address) if on_ready is not None else None)
        with contextlib.suppress(KeyboardInterrupt):  # asked to stop, and it has stopped
            server.run(sockets=[listener])
    finally:
        listener.close()

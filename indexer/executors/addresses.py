"""Addresses of Ray clusters, as RAY_ADDRESS has them."""

from __future__ import annotations

import socket

from search.errors import ExecutorError


def probe(address: str, seconds: float = 3.0) -> None:
    """Make sure that somebody listens at the address of a cluster, which Ray would wait for much longer.

    Raises:
        ExecutorError: nobody does, or it is no address that a run can use.
    """
    if address == "auto":
        return
    what = f"RAY_ADDRESS is {address}"
    if "://" in address:
        raise ExecutorError(
            f"{what}, which is for Ray's client: run `sightline index` on a machine of the cluster, and set it to auto "
            "or to HOST:6379."
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ExecutorError(
            f"{what}, which is no address of a cluster: it is HOST:PORT, such as 10.0.0.5:6379, or auto."
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), seconds).close()
    except (OSError, OverflowError) as error:
        raise ExecutorError(
            f"No Ray cluster answers at {address} (RAY_ADDRESS): {getattr(error, 'strerror', None) or error}. "
            "Start it, or unset RAY_ADDRESS to embed with the cores of this machine."
        ) from error

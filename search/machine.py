"""Which machine this is, and what kind of disk a folder lies on.

SQLite's shared memory and the writer's lock hold among the processes of one machine. On a drive that several machines
mount, each would believe that it is alone; so a home there belongs to the first machine that writes to it.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

from search.catalog.paths import is_within
from search.errors import CatalogError
from search.home import Home

_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afpfs", "ncpfs", "9p", "webdav", "davfs", "glusterfs", "ceph"}
_NETWORK_BY_FUSE = {"fuse.sshfs", "fuse.rclone", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.davfs"}


def file_system(folder: bytes) -> str:
    """The kind of file system that a folder (absolute) lies on, in lower case; '' where that cannot be told."""
    import psutil

    if sys.platform == "win32" and folder.startswith(b"\\\\"):
        return "smb3"
    mounts = [(os.fsencode(part.mountpoint), part.fstype.lower()) for part in psutil.disk_partitions(all=True)]
    # The last one that was mounted at a place hides those before it.
    return max(
        ((len(place), number, kind) for number, (place, kind) in enumerate(mounts) if is_within(folder, place)),
        default=(0, 0, ""),
    )[2]


def is_on_network(folder: bytes) -> bool:
    """Whether other machines may write to the drive that a folder lies on."""
    return file_system(folder) in _NETWORK | _NETWORK_BY_FUSE


def check_owner(home: Home, *, claim: bool = False) -> None:
    """Return if this machine may use the home; where it lies on a network drive, `claim` makes it this machine's.

    Raises:
        CatalogError: the home is another machine's.
        OSError: it cannot be claimed.
    """
    place = home.path / "machine.json"
    # Asked for each reader; what lies on a network drive has the file, since whoever made the index claimed it.
    if not claim and not place.exists():
        return
    if not is_on_network(os.fsencode(os.path.realpath(home.path))):
        return
    own = {"machine": _machine(), "host": socket.gethostname()}
    try:
        owner = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        if claim:
            place.write_text(json.dumps(own), encoding="utf-8")
        return
    if not isinstance(owner, dict) or owner.get("machine") != own["machine"]:
        other = owner.get("host") if isinstance(owner, dict) else "another one"
        raise CatalogError(
            f"The home {home.path} lies on a network drive and is used by the machine {other}; two machines at once "
            f"would damage it. Give this one a home of its own with --home, or, if {other} does not use it any more, "
            f"delete {place}."
        )


def _machine() -> str:
    for place in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            found = Path(place).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue
        if found:
            return found
    return socket.gethostname()

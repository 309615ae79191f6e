"""Named steps of the pipeline at which a test lets the process die, or a write fail.

Nothing happens at them unless one is armed: by `SIGHTLINE_FAIL_AT=STEP[:TIMES[:HOW]]` in the environment of a process,
or by `arm`. The process dies as by `kill -9`, or meets a full disk, when it comes to the step for the given time.
"""

from __future__ import annotations

import errno
import os
import signal

STEPS = {
    "lock taken": "the writer holds its lock, and nothing else was done",
    "migrating": "inside a migration, before its commit",
    "job started": "the job is in the catalog",
    "library added": "a new library, and what the options say, are in the catalog",
    "scanned": "the folders were looked through",
    "model registered": "the model is loaded, and known to the catalog",
    "group written": "inside the transaction of a group of photos, before its commit",
    "group committed": "a group of photos is in the catalog",
    "model activated": "inside the transaction that lets another model answer, before its commit",
    "files forgotten": "inside the transaction that forgets files, before its commit",
    "orphans purged": "photos without a file were deleted, their thumbnails were not",
    "vectors written": "a generation's files are written aside, and not flushed",
    "vectors named": "the generation's folder has its name, the catalog does not know it yet",
    "vectors committed": "the generation is in the catalog, older ones still lie beside it",
    "collection marked": "what Milvus holds is about to change, and says that it shows no state",
    "entities written": "some of the photos are in Milvus as the catalog has them",
    "collection named": "Milvus' readers find the collection, the catalog does not know it yet",
    "balance kept": "inside the transaction that keeps what texts make of the photos, before its commit",
    "tags written": "inside the transaction of a group of tags, before its commit",
    "descriptions written": "inside the transaction of a group of captions or texts, before its commit",
    "thumbnail written": "a thumbnail is written aside, and has not its name yet",
    "job ending": "all is done but the word that it is",
}
"""Each step, and how things stand at it."""
OF_MILVUS = {"collection marked", "entities written", "collection named"}
"""Those that only a home comes to which keeps its vectors in Milvus."""

_armed: dict[str, tuple[int, str]] = {}


def arm(step: str, times: int = 1, how: str = "kill") -> None:
    """Let the process die (`kill`) or meet a full disk (`full`) when it comes to `step` for the given time.

    Raises:
        ValueError: there is no such step, or no such way to fail.
    """
    if step not in STEPS or how not in ("kill", "full") or times < 1:
        raise ValueError(f"There is no fail point {step}:{times}:{how}.")
    _armed[step] = times, how


def reach(step: str) -> None:
    """The process has come to `step`."""
    if _armed:
        _fail(step)


def _fail(step: str) -> None:
    times, how = _armed.get(step, (0, ""))
    if times == 1:
        del _armed[step]
        if how == "kill":
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if times:
        _armed[step] = times - 1, how


def _arm_from_environment(value: str) -> None:
    step, _, rest = value.partition(":")
    times, _, how = rest.partition(":")
    arm(step, int(times or 1), how or "kill")


if "SIGHTLINE_FAIL_AT" in os.environ:
    _arm_from_environment(os.environ["SIGHTLINE_FAIL_AT"])

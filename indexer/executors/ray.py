"""The executor of a Ray cluster: workers on any number of machines read, decode and embed; this process commits.

The cluster is spoken to by a process of its own (`indexer.executors.ray_driver`), which ends with this one.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from indexer.executors.messages import Beat, Done, Failed, Ready, Start, Task, Work, packed_ids
from indexer.executors.protocol import Group
from indexer.files import opened
from indexer.known import KnownPhotos
from indexer.pipeline import UNREADABLE, ReadFile
from indexer.report import IndexOptions
from indexer.scan import FoundFile, modified_ns
from indexer.terminal import printable
from search.catalog import paths
from search.errors import ExecutorError, PhotoError

if TYPE_CHECKING:
    from indexer.executors.messages import Answer
    from indexer.measure import EmbeddingMeter
    from search.models.encoder import Encoder

PATIENCE = 120.0
"""Seconds without a machine for a worker after which a cluster counts as lost: one that scales by itself may need as
long for a new machine."""
_CONNECTING = 30.0
_STARTING = 90.0
"""Seconds that a cluster may take to answer, and one of this machine to start."""
_SILENCE = 60.0
"""Seconds without a sign of life after which the cluster counts as lost."""
_WINDOW = 2**18
"""Files that are at the cluster at a time: its driver and its object store hold about 40 MB of so many."""
_TURN = 0.5
"""The caller gets its turn so often at least: it may be asked to stop."""
_ENDING = 10.0

_ROOT = Path(__file__).parents[2]
_PROGRAM = f"import sys; sys.path.insert(0, {str(_ROOT)!r})\nfrom indexer.executors.ray_driver import main; main()"
_ENVIRONMENT = {
    # Nobody is told that photos are indexed here.
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Whoever asks Ray for something while the cluster is being left would start another one.
    "RAY_ENABLE_AUTO_CONNECT": "0",
}
# A cluster of this machine alone: it listens at the loopback address. Ray has this for systems whose firewalls ask.
_ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
# What bears on the embeddings, or on what can be read; not where things lie on this machine, nor secrets.
_SETTINGS = ("SIGHTLINE_DECODING_", "SIGHTLINE_RUNTIME")
_KEPT = "What was indexed so far is kept; run it again to go on."


def check() -> None:
    """Make sure that Ray is installed, and that somebody listens at RAY_ADDRESS.

    Raises:
        ExecutorError: it is not, or nobody does.
    """
    if find_spec("ray") is None or find_spec("pyarrow") is None:
        raise ExecutorError(
            "`--executor ray` needs Ray, which is not installed: `pip install 'sightline[scale]'`, or leave it out."
        )
    if address := _address():
        from indexer.executors.addresses import probe

        probe(address)


def _address() -> str | None:
    """RAY_ADDRESS; None where a cluster of this machine is to be started, which is `local` in Ray's words."""
    address = os.environ.get("RAY_ADDRESS")
    return None if address in (None, "", "local") else address


class RayExecutor:
    """Embeds with the workers of a cluster: that at RAY_ADDRESS, else one on this machine, for as long as it takes."""

    def __init__(self, options: IndexOptions, precision: str, say: Callable[[str], None]) -> None:
        """Begin to connect, for a model in this precision; `say` hears what a person should know."""
        self.waits: list[str] = []
        self.meter: EmbeddingMeter | None = None
        self._options = options
        self._precision = precision
        self._say = say
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (until `close`)
        address = self._address = _address()
        # Sockets lie in it, whose paths must be short. Ray writes there until the last of its processes has ended.
        short = "/tmp" if os.path.isdir("/tmp") else None
        self._folder = None if address else tempfile.mkdtemp(prefix="sightline-", dir=short)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            # Ray lets workers of this machine import from where the process is: the modules beside this one.
            cwd=_ROOT,
            env={**os.environ, **_ENVIRONMENT, **({} if address else _ALONE)},
            start_new_session=True,  # Ctrl+C is for the run
        )
        self._heard: queue.Queue[Any] = queue.Queue(64)
        self._last = time.monotonic()
        self._ready = False
        self._closed = False
        self._unread: Counter[str] = Counter()
        self._able: set[str] = set()
        self._listener = threading.Thread(target=self._listen, name="ray", daemon=True)
        self._listener.start()
        self._send(Start(address, self._folder, options.workers, options.device, PATIENCE))

    def embed(self, encoder: Encoder, files: Sequence[FoundFile], known: KnownPhotos) -> Generator[Group]:
        """See `Executor.embed`. Groups come as workers have done."""
        task = self._task(encoder)
        nothing: Group = ([], np.empty((0, encoder.dim), np.float32))
        left, reason = 0, ""
        for at in range(0, len(files), _WINDOW):
            window = list(files[at : at + _WINDOW])
            self._send(Work(task, packed_ids(known.of_sizes(file.size for file in window)), window))
            while not isinstance(message := self._hear(), Done):
                yield nothing if message is None else self._group(message)
            left, reason = left + message.files, message.reason or reason
        if left == len(files):
            raise ExecutorError(
                f"No worker of the Ray cluster could embed anything ({reason or 'they died'}): Sightline must be "
                "installed on all its machines, in the version of this one."
            )
        if left:
            self._wait_for(
                f"{left:,} files came back from no worker of the Ray cluster ({reason or 'they died'}); the next "
                "run tries them again."
            )
        for node, count in (+self._unread).items():
            self._wait_for(
                f"{count:,} files that can be read here cannot be read on {node}; they were left for a later run. All "
                "machines of a Ray cluster need the photos at the same place, with the same rights."
            )

    def close(self) -> None:
        """See `Executor.close`. A cluster that was started here is taken down."""
        if self._closed:
            return
        self._closed = True
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        with contextlib.suppress(OSError):
            stdin.close()
        try:
            self._process.wait(_ENDING)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        finally:
            self._listener.join(_ENDING)
            stdout.close()
            self._log.close()
            self._clear_away()

    def _clear_away(self) -> None:
        """What a process that was killed has left of a cluster of this machine."""
        if self._folder is not None and hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        until = time.monotonic() + _ENDING
        while self._folder is not None and os.path.isdir(self._folder) and time.monotonic() < until:
            shutil.rmtree(self._folder, ignore_errors=True)
            time.sleep(0.05)

    def _task(self, encoder: Encoder) -> Task:
        return Task(
            model=encoder.name,
            precision=self._precision,
            device=self._options.device,
            download=self._options.download,
            batch_size=self._options.batch_size,
            weights=encoder.fingerprint,
            preprocessing=encoder.preprocess.fingerprint,
            environment={name: value for name, value in os.environ.items() if name.startswith(_SETTINGS)},
        )

    def _group(self, answer: Answer) -> Group:
        files, unread = without_unread(answer)
        if unread < len(files):
            self._able.add(answer.node)
        elif unread and answer.node not in self._able:
            # It would take shard after shard, faster than those that work. One that could read before has a storage
            # that did not answer for a while.
            where = paths.display(files[0].found.path)
            raise ExecutorError(
                f"The Ray worker on {answer.node} cannot read {where}, which can be read here: all machines of the "
                f"cluster need the photos at the same place, with the same rights. {_KEPT}"
            )
        self._unread[answer.node] += unread
        return files, answer.vectors.astype(np.float32)

    def _hear(self) -> Answer | Done | None:
        """The next message, None where it is time to give the caller its turn.

        Raises:
            ExecutorError: the cluster is not to be had, or was lost.
        """
        try:
            message = self._heard.get(timeout=_TURN)
        except queue.Empty:
            silent = time.monotonic() - self._last
            if self._ready and silent > _SILENCE:
                raise ExecutorError(f"The Ray cluster has not answered for {silent:.0f} s. {_KEPT}") from None
            if not self._ready and silent > (_CONNECTING if self._address else _STARTING):
                where = f"at {self._address} (RAY_ADDRESS) does not answer" if self._address else "could not be started"
                raise ExecutorError(f"The Ray cluster {where}, not even after {silent:.0f} s.") from None
            return None
        if message is None:
            raise ExecutorError(f"The Ray cluster was lost{self._last_words()}. {_KEPT}")
        if isinstance(message, Failed):
            if message.sentence is None:
                raise RuntimeError(message.trace)
            raise ExecutorError(f"{message.sentence} {_KEPT}" if self._ready else message.sentence)
        if isinstance(message, Ready):
            self._ready = True
            self._say(message.sentence)
            return None
        return cast("Answer | Done", message)

    def _listen(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        message: Any = True
        while message is not None and not self._closed:
            try:
                message = pickle.load(stdout)
            except (OSError, EOFError, pickle.UnpicklingError):
                message = None
            self._last = time.monotonic()
            while not isinstance(message, Beat) and not self._closed:
                with contextlib.suppress(queue.Full):
                    self._heard.put(message, timeout=_TURN)
                    break

    def _send(self, message: Start | Work) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(BrokenPipeError):  # its stdout has ended too, which is heard
            pickle.dump(message, stdin, pickle.HIGHEST_PROTOCOL)
            stdin.flush()

    def _wait_for(self, sentence: str) -> None:
        self._say(sentence)
        self.waits.append(sentence)

    def _last_words(self) -> str:
        """What the process that talked with the cluster has said last, for a sentence."""
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read().decode("utf-8", "replace").splitlines()]
        return f" ({printable(lines[-1])[:300].rstrip('.')})" if any(lines) else ""


def without_unread(answer: Answer) -> tuple[list[ReadFile], int]:
    """The files of an answer, and how many of them the worker alone cannot read: nothing is to be recorded of those."""
    unread = [_is_readable_here(file) for file in answer.files]
    files = [
        ReadFile(file.found, left_alone=True) if one else file for file, one in zip(answer.files, unread, strict=True)
    ]
    return files, sum(unread)


def _is_readable_here(file: ReadFile) -> bool:
    """Whether a file that a worker could not open is here as it was found."""
    if not (file.left_alone or (file.failure or "").startswith(UNREADABLE)):
        return False
    try:
        with opened(file.found.path) as (_, status):
            return (status.st_size, modified_ns(status)) == (file.found.size, file.found.mtime_ns)
    except (OSError, PhotoError):
        return False

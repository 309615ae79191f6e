"""The process that talks with a Ray cluster, for a run of the indexer that is its parent.

Ray ends a process whose cluster is gone, and may wait without end for one that does not answer; here that costs no run
its catalog. Messages (`indexer.executors.messages`) go through pipes. When its stdin ends, however that came, this
process takes down what it has started and ends.
"""

from __future__ import annotations

import os
import pickle
import queue
import re
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from indexer.executors.addresses import probe
from indexer.executors.messages import Beat, Done, Failed, Ready, Start, Work
from indexer.executors.ray_worker import EmbedFiles
from indexer.executors.shards import answer_of, files_table
from indexer.scan import FoundFile
from search.errors import ExecutorError

_SHARD = 128
"""Files of a shard, at most: what a worker that dies has to do again. Decoding runs ahead of the model within it."""
_SHARDS_EACH = 4
"""At least as many for each worker, so that one that is slow or dies leaves work to the others; if there are enough."""
_SMALLEST_SHARD = 8
_ROUNDS = 2
"""What was lost with a machine, or gave no sign of progress, is tried again so often in vain."""
_NO_PROGRESS = 900
"""Seconds without an answer after which what is under way is given up: a shard whose workers die each time, say."""
_CORES = 4
"""Of a worker without a GPU, at most: more workers need more memory for the model, and larger ones start later."""
_CORES_BESIDE_GPU = 16
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_OBJECT_STORE = 192 * 2**20
_BEAT = 2.0
_LEAVING = 8.0


@dataclass(frozen=True)
class Pool:
    """How many workers there are, and what each of them gets."""

    size: int
    cores: int
    gpus: int

    @classmethod
    def suiting(cls, nodes: list[tuple[int, float]], workers: int | None, device: str) -> Pool:
        """Workers for `nodes`, each with so many cores and GPUs: one for each GPU, else for every few cores.

        Raises:
            ExecutorError: a GPU is wanted and there is none.
        """
        with_gpu = [(cores, gpus) for cores, gpus in nodes if gpus >= 1]
        if with_gpu and device != "cpu":
            cores = min(int(cores // gpus) for cores, gpus in with_gpu)
            return cls(workers or sum(int(gpus) for _, gpus in with_gpu), max(0, min(_CORES_BESIDE_GPU, cores)), 1)
        if device == "cuda":
            raise ExecutorError("No machine of the Ray cluster has a GPU: leave out `--device cuda`.")
        those = [cores for cores, _ in nodes if cores >= 1] or [1]
        # Two at least where there are two cores, so that one that dies is not all.
        each = max(1, min(_CORES, min(those), sum(those) // (workers or 2)))
        return cls(workers or sum(cores // each for cores in those), each, 0)

    def fits(self, nodes: list[tuple[int, float]]) -> bool:
        """Whether any of the nodes has room for a worker."""
        return any(cores >= self.cores and gpus >= self.gpus for cores, gpus in nodes)


class Driver:
    """Connects to the cluster, and has files embedded there. `folder` is what a cluster of this machine writes in."""

    def __init__(self, answers: BinaryIO) -> None:
        """Speak through `answers`."""
        self._answers = answers
        self._lock = threading.Lock()
        self.folder: str | None = None
        self._leaving = threading.Lock()

    def run(self, inbox: queue.SimpleQueue[Any]) -> None:
        """Do what `inbox` asks for."""
        try:
            start: Start = inbox.get()
            pool = self._connect(start)
            threading.Thread(target=self._beat, args=(pool, start.patience), name="beat", daemon=True).start()
            while True:
                self.say(self._embed(pool, inbox.get()))
        except ExecutorError as error:
            self.say(Failed(str(error)))
        except Exception as error:
            self.say(Failed(None, "".join(traceback.format_exception(error))))

    def say(self, message: object) -> None:
        """Send a message to the parent; where that is gone, stdin has ended too."""
        with self._lock:
            try:
                pickle.dump(message, self._answers, pickle.HIGHEST_PROTOCOL)
                self._answers.flush()
            except OSError:
                self.leave()

    def leave(self) -> None:
        """Take down what was started here, and end the process. Does not return."""
        with self._leaving:
            end = threading.Timer(_LEAVING, self._end)  # whatever Ray may wait for
            end.daemon = True
            end.start()
            try:
                import ray

                ray.shutdown()
            finally:
                self._end()

    def _end(self) -> None:
        if self.folder is not None:  # the parent may be gone, which does the same
            shutil.rmtree(self.folder, ignore_errors=True)
            # Whoever is still there, of a cluster that was just being started, say, would make the folder anew.
            if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
                os.killpg(0, signal.SIGKILL)
        os._exit(0)

    def _connect(self, start: Start) -> Pool:
        import ray

        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if start.address is None:
            cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
            try:
                ray.init(
                    "local",
                    num_cpus=max(cores, start.workers or 1),
                    object_store_memory=_OBJECT_STORE,
                    include_dashboard=False,
                    _temp_dir=start.folder,
                    **quiet,
                )
            except (RuntimeError, ValueError, OSError) as error:
                raise ExecutorError(f"Ray cannot be started on this machine ({_first_line(error)}).") from error
        else:
            probe(start.address)
            try:
                ray.init(start.address, **quiet)
            except (ConnectionError, RuntimeError, ValueError, OSError) as error:
                raise ExecutorError(
                    f"The Ray cluster at {start.address} (RAY_ADDRESS) cannot be used from here ({_first_line(error)})."
                ) from error
        nodes = _nodes()
        pool = Pool.suiting(nodes, start.workers, start.device)
        each = "1 GPU" if pool.gpus else f"{pool.cores} cores" if pool.cores > 1 else "1 core"
        nodes_there = f"{len(nodes)} nodes" if len(nodes) > 1 else "1 node"
        where = "this machine" if start.address is None else f"the cluster {start.address} ({nodes_there})"
        workers = f"{pool.size} workers" if pool.size > 1 else "1 worker"
        self.say(Ready(f"Ray embeds with {workers} of {each} on {where}."))
        return pool

    def _beat(self, pool: Pool, patience: float) -> None:
        """Tell that all is well, until no machine has been there for a worker for too long."""
        there = time.monotonic()
        while True:
            if pool.fits(_nodes()):
                there = time.monotonic()
            elif time.monotonic() - there > patience:
                self.say(Failed("All machines of the Ray cluster that could embed photos are gone."))
                return
            self.say(Beat())
            time.sleep(_BEAT)

    def _embed(self, pool: Pool, work: Work) -> Done:
        """Answer for some files; of which some may be left that no worker came back with."""
        left = dict(enumerate(work.files))
        reason = ""
        idle = 0
        while left and idle < _ROUNDS:
            before = len(left)
            answers = _answers_to(pool, work, left)
            while True:
                try:
                    table = next(answers, None)
                except Exception as error:  # of Ray's many, those of machines that are gone; its own faults end as well
                    reason = _last_line(error)
                    break
                if table is None:
                    break
                if (answer := answer_of(table, left)).files:
                    self.say(answer)
            idle = idle + 1 if len(left) == before else 0
        return Done(len(left), reason)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")


def _last_line(error: Exception) -> str:
    """Of an error of Ray, which has a worker's traceback in it, what that ends with."""
    lines = [_COLOURS.sub("", line).strip() for line in str(error).splitlines()]
    return next((line.rstrip(".") for line in reversed(lines) if line), type(error).__name__)


def _answers_to(pool: Pool, work: Work, files: dict[int, FoundFile]) -> Iterator[Any]:
    """Tables of what came of the files, from the workers as they have done."""
    import ray

    size = max(_SMALLEST_SHARD, min(_SHARD, -(-len(files) // (pool.size * _SHARDS_EACH))))
    numbers = list(files)
    shards = [files_table(numbers[at : at + size], files) for at in range(0, len(numbers), size)]
    dataset = ray.data.from_blocks(shards).map_batches(
        EmbedFiles,
        fn_constructor_args=(work.task, ray.put(work.known)),
        batch_size=None,
        batch_format="pyarrow",
        zero_copy_batch=True,
        compute=ray.data.ActorPoolStrategy(
            size=pool.size, max_concurrent_calls_per_actor=2, enable_true_multi_threading=True
        ),
        num_cpus=pool.cores,
        num_gpus=pool.gpus or None,
    )
    yield from dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=2)


def _configure() -> None:
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # Workers that die are started anew, and their shards given to others, without end (Ray Data's default); of what
    # fails otherwise the rest is done first.
    context.max_errored_blocks = -1
    context.execution_no_progress_timeout_s = _NO_PROGRESS


def _nodes() -> list[tuple[int, float]]:
    """Cores and GPUs of each machine that is there."""
    import ray

    resources = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [(int(one.get("CPU", 0)), float(one.get("GPU", 0))) for one in resources]


def main() -> None:
    """The process."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what Ray prints is for the log
    driver = Driver(answers)
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def listen() -> None:
        try:
            while True:
                message = pickle.load(sys.stdin.buffer)
                if isinstance(message, Start):
                    driver.folder = message.folder  # which is there from now on
                inbox.put(message)
        except (EOFError, OSError, pickle.UnpicklingError):
            driver.leave()

    listener = threading.Thread(target=listen, name="parent")
    listener.start()
    _configure()
    driver.run(inbox)
    listener.join()

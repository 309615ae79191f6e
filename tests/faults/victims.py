"""Runs of the indexer in processes that die: by `kill -9` at a named step or at any moment, or for want of something.

A nursery loads the model once and forks for each run, so that a death costs a tenth of a second, not ten. What dies is
a whole process all the same: nothing in it is cleaned up.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from search.home import Home

_LONGEST = 120.0
_IMPORTED_BY_RUNS = (
    "faiss",
    "indexer.decoding.settings",
    "indexer.describe.huggingface",
    "indexer.describe.starter",
    "indexer.executors.local",
    "indexer.run",
    "search.ranking_settings",
    "search.vectors.flat",
    "sqlite_utils",
)


class Nursery:
    """Starts victims. A context; ends with its process."""

    def __enter__(self) -> Self:
        root = Path(__file__).parents[2]
        # One thread: a process that has others is not to be forked, and OpenVINO has some of its own.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        environment["SIGHTLINE_RUNTIME"] = "pytorch"
        environment["PYTHONPATH"] = os.pathsep.join([str(root), str(root / "tests")])
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd=root
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def run(
        self,
        home: Home,
        folders: list[Path] | None = None,
        *,
        at: tuple[str, int, str] | None = None,
        after: float | None = None,
        largest_file: int | None = None,
        memory: int | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """One run in a process of its own, which dies at the fail point `at`, or `after` so many seconds, or may write
        no file that is larger than `largest_file` bytes, or have so many more bytes of `memory`.

        Returns:
            `died`: whether it was killed; `error`: the sentence that it ended with, or None; `report`, where it ended.
        """
        wanted = {
            "home": str(home.path),
            "folders": [str(folder) for folder in folders or []],
            "at": at,
            "after": after,
            "largest_file": largest_file,
            "memory": memory,
            "options": options,
        }
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(wanted).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the nursery itself has died"
        answer: dict[str, Any] = json.loads(line)
        return answer


def _nurse() -> None:
    """Fork for each line of stdin."""
    import torch

    from indexer.model_choice import LoadedModel
    from indexer.report import IndexOptions

    torch.set_num_threads(1)
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    model = LoadedModel()
    model.get("starter", "auto", IndexOptions())
    for name in _IMPORTED_BY_RUNS:
        importlib.import_module(name)
    import indexer.record

    indexer.record.GROUP_SECONDS = 0.0  # many commits, so that deaths fall between and inside them
    for line in sys.stdin.buffer:
        wanted = json.loads(line)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read)
            _live(wanted, model, write)
        os.close(write)
        answers.write(json.dumps(_outcome(child, read, wanted["after"])).encode() + b"\n")


def _live(wanted: dict[str, Any], model: Any, write: int) -> None:
    from indexer.report import IndexOptions
    from indexer.run import run_index
    from search import failpoints
    from search.errors import SightlineError

    answer: dict[str, Any] = {"died": False, "error": None, "report": None}
    status = 0
    try:
        if wanted["at"] is not None:
            failpoints.arm(*wanted["at"])
        if wanted["largest_file"] is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (wanted["largest_file"], resource.RLIM_INFINITY))
        if wanted["memory"] is not None:
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + wanted["memory"], resource.RLIM_INFINITY))
        options = {"model": "starter", "captions": "off", "workers": 2, "batch_size": 4, **wanted["options"]}
        os.write(write, b"go\n")
        report = run_index(Home(Path(wanted["home"])), wanted["folders"], IndexOptions(**options), model=model)
        answer["report"] = report.to_json()
    except SightlineError as error:
        answer["error"] = str(error)
    except BaseException as error:
        answer["error"] = f"UNEXPECTED {type(error).__name__}: {error}"
        status = 1
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    os.write(write, json.dumps(answer).encode())
    os._exit(status)


def _outcome(child: int, read: int, after: float | None) -> dict[str, Any]:
    """How the child ended; it is killed `after` so many seconds from when it began."""
    content = b""
    with os.fdopen(read, "rb", buffering=0) as stream:
        while True:
            ready, _, _ = select.select([stream], [], [], after if b"go" in content and after is not None else _LONGEST)
            if not ready:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
                assert after is not None, "a run hung"
                after = None
            chunk = stream.read(65_536) if ready else b""
            if ready and not chunk:
                break
            content += chunk
    os.waitpid(child, 0)
    document = content.partition(b"go\n")[2]
    if not document:
        return {"died": True, "error": None, "report": None}
    answer: dict[str, Any] = json.loads(document)
    return answer


if __name__ == "__main__":
    _nurse()

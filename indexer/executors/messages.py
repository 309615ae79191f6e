"""What a run and the process that talks with its cluster say to each other, pickled, one after the other.

The run says `Start`, then `Work` again and again, each when the last one is `Done`. It hears `Ready`, then an `Answer`
for each shard, `Beat` every other second, and `Failed` where it ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from indexer.pipeline import ReadFile
from indexer.scan import FoundFile

_ID = re.compile(r"[0-9a-f]{32}")

Ids = np.ndarray[tuple[int, int], np.dtype[np.uint64]]


def packed_ids(ids: Iterable[str]) -> Ids:
    """Ids of photos as uint64[n, 2], in order: 16 bytes each, which all workers of a node share."""
    content = b"".join(bytes.fromhex(identity) for identity in ids if _ID.fullmatch(identity))
    packed = np.frombuffer(content, ">u8").reshape(-1, 2).astype(np.uint64)
    return packed[np.lexsort((packed[:, 1], packed[:, 0]))]


def is_among(ids: Ids, identity: str) -> bool:
    """Whether an id is among those of `packed_ids`."""
    high, low = np.frombuffer(bytes.fromhex(identity), ">u8").astype(np.uint64)
    first, end = np.searchsorted(ids[:, 0], high, "left"), np.searchsorted(ids[:, 0], high, "right")
    return bool((ids[first:end, 1] == low).any())


@dataclass(frozen=True)
class Start:
    """How to connect.

    Attributes:
        address: of the cluster; None: a new one on this machine, which keeps its files in `folder`.
        workers: how many are wanted; None: as many as suit the machines.
        device: where models run, as in `indexer.report.IndexOptions`.
        patience: seconds without any machine for a worker after which the cluster counts as lost.
    """

    address: str | None
    folder: str | None
    workers: int | None
    device: str
    patience: float


@dataclass(frozen=True)
class Task:
    """What all workers of a run are told.

    Attributes:
        model, precision, device, download, batch_size: as in `indexer.report.IndexOptions`.
        weights, preprocessing: the fingerprints that the model must have there as well.
        environment: the settings of the run that bear on what comes out.
    """

    model: str
    precision: str
    device: str
    download: bool
    batch_size: int | None
    weights: str
    preprocessing: str
    environment: dict[str, str]


@dataclass(frozen=True)
class Work:
    """Files to embed, and the ids of photos among them that need not be."""

    task: Task
    known: Ids
    files: list[FoundFile]


@dataclass(frozen=True)
class Ready:
    """The cluster answers; a sentence on what it has."""

    sentence: str


@dataclass(frozen=True)
class Beat:
    """A sign of life."""


@dataclass(frozen=True)
class Answer:
    """What a worker says of some files.

    Attributes:
        node: which machine it is on.
        files: what came of them.
        vectors: float16[m, d], of those that have a photo, in their order.
    """

    node: str
    files: list[ReadFile]
    vectors: np.ndarray[tuple[int, int], np.dtype[np.float16]]


@dataclass(frozen=True)
class Done:
    """All answers were given, but for so many `files` that no worker came back with, whose last `reason` this is."""

    files: int
    reason: str


@dataclass(frozen=True)
class Failed:
    """It ends here. `sentence` is for the user; else it is a fault of the program, with its `trace`."""

    sentence: str | None
    trace: str = ""

"""What a run is asked to do, and what it did."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class IndexOptions:
    """Options of a run; None means what the home remembers, or the default where it remembers nothing.

    Attributes:
        model: `auto`, a preset or any open_clip name.
        captions: who writes captions, as `indexer.describe.choice` names them, or `off`.
        ocr: whether the text in pictures is read.
        captions_dry_run: whether a captioner that would send pictures away only tells what it would send.
        concepts: a file of the user's own concepts to tag photos with, or `off` for none.
        precision: `auto`, `fp32`, `bf16` or `fp16`; captioners do not remember it.
        batch_size: photos in one forward pass.
        workers: processes that decode, each with a thread that reads for it; of the executor `ray`, workers.
        executor: where photos are read and embedded: `local` or `ray`.
        download: whether a model that is not on this machine may be downloaded.
        confirm_removals: whether what is gone was removed, by a person's word, however much it is.
        include, exclude, hidden, min_bytes: what of the libraries is indexed, as `indexer.rules.Rules` has it.
        keep_previous: whether what earlier models made of the photos is kept.
        grace: seconds for which photos without a file are kept.
        recall: the share of the nearest photos that a search of a large library finds; 1 for all of them, compared one
            by one.
        vectors: where vectors are kept: `faiss`, or `milvus:` and an address.
        cause: who asked for the run: `command`, `page`, `watch` or `schedule`.
    """

    model: str | None = None
    captions: str | None = None
    device: str = "auto"
    precision: str | None = None
    batch_size: int | None = None
    workers: int | None = None
    download: bool = True
    ocr: bool | None = None
    captions_dry_run: bool = False
    concepts: str | None = None
    confirm_removals: bool = False
    include: tuple[str, ...] | None = None
    exclude: tuple[str, ...] | None = None
    hidden: bool | None = None
    min_bytes: int | None = None
    keep_previous: bool | None = None
    grace: float | None = None
    recall: float | None = None
    vectors: str | None = None
    cause: str = "command"
    executor: str = "local"

    def of_the_machine(self) -> IndexOptions:
        """Where and how models compute, without anything that the home remembers or that holds for one run."""
        return IndexOptions(
            device=self.device,
            precision=self.precision,
            batch_size=self.batch_size,
            workers=self.workers,
            download=self.download,
            executor=self.executor,
        )

    @property
    def rules(self) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None, bool | None, int | None]:
        """What of the libraries is indexed: the arguments of `Rules.changed`."""
        return self.include, self.exclude, self.hidden, self.min_bytes

    @property
    def threads(self) -> int:
        """Processes that decode on this machine: as many as `workers`, if those are not of a cluster, or one a core."""
        return (self.workers if self.executor == "local" else None) or os.cpu_count() or 2


@dataclass
class IndexReport:
    """What a run did: counts of files (`missing` are those that are not there and were kept), from `embedded` on of
    photos; `seconds` of the whole and of each stage; and sentences on what `waits` for a later run, or for a person.
    `not_described` are photos that a stage of describing failed on; a run that was `preempted` has not looked at
    everything.
    """

    model: str = ""
    added: int = 0
    updated: int = 0
    moved: int = 0
    removed: int = 0
    missing: int = 0
    unchanged: int = 0
    failed: int = 0
    embedded: int = 0
    tagged: int = 0
    captioned: int = 0
    texts_read: int = 0
    not_described: int = 0
    seconds: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    waits: list[str] = field(default_factory=list)
    preempted: bool = False

    @property
    def photos_per_second(self) -> float:
        """Photos embedded for each second of the `embed` stage: reading, hashing, decoding, model and commits."""
        seconds = self.stages.get("embed", 0.0)
        return self.embedded / seconds if seconds else 0.0

    def counts(self) -> dict[str, int]:
        """The counts alone, as a job keeps them."""
        return {name: value for name, value in asdict(self).items() if type(value) is int}

    def to_json(self) -> dict[str, Any]:
        """The contract of `sightline index --json`."""
        return {
            **self.counts(),
            "seconds": round(self.seconds, 3),
            "photos_per_second": round(self.photos_per_second, 1),
            "model": self.model,
            "stages": {name: round(seconds, 3) for name, seconds in self.stages.items()},
            "waits": self.waits,
        }

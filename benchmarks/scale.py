"""What large libraries take, by the measured costs of one photo: the tables of docs/scale.md.

    python -m benchmarks.scale [--core-hour 0.04] [--disk-month 0.08] [--machine-cores 32] [--machine-memory 128]

The costs are those of docs/scale.md, which names the commands that measure them. Prices are options, not facts.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

FILE = 3_500_000
"""Bytes of a JPEG of 12 megapixels, as cameras write it."""
USABLE = 0.7
"""The part of a machine's memory that vectors may have."""
LIBRARIES = (1_000_000, 10_000_000, 100_000_000, 1_000_000_000)


@dataclass(frozen=True)
class Costs:
    """What one photo takes.

    Attributes:
        decode: seconds of a core to read, hash and decode a JPEG of 12 megapixels.
        fast, balanced: seconds of a core in the image tower of the preset, in bf16.
        caption: seconds of a core for a caption of the built-in captioner.
        commit: seconds of the one writer.
        catalog: bytes in the catalog, with caption and tags.
        lists: bytes in inverted lists.
        graph: bytes of a graph over vectors in single precision, in memory.
        publishing: bytes in memory while lists are published.
    """

    decode: float = 0.0106
    fast: float = 2 / 77
    balanced: float = 2 / 18.9
    caption: float = 0.0176
    commit: float = 1 / 8_100
    catalog: float = 3_000
    lists: float = 539
    graph: float = 2_320
    publishing: float = 1_000


COSTS = Costs()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--core-hour", type=float, default=0.04, help="price of a core for an hour")
    parser.add_argument("--disk-month", type=float, default=0.08, help="price of a gigabyte on a fast disk for a month")
    parser.add_argument("--machine-cores", type=int, default=32)
    parser.add_argument("--machine-memory", type=int, default=128, help="GB")
    arguments = parser.parse_args()
    print(work(arguments.core_hour))
    print()
    print(machines(arguments.machine_cores))
    print()
    print(storage(arguments.disk_month, arguments.machine_memory))


def work(core_hour: float) -> str:
    """Core hours and money for a million photos."""
    rows = [f"| a million photos | core hours | at {core_hour:.2f} an hour |", "|---|---|---|"]
    parts = {
        "reading and decoding, 12 megapixels": COSTS.decode,
        "embedding, `fast`": COSTS.fast,
        "embedding, `balanced`": COSTS.balanced,
        "captions, built in": COSTS.caption,
        "committing": COSTS.commit,
        "all, with `fast`": COSTS.decode + COSTS.fast + COSTS.caption + COSTS.commit,
        "all, with `balanced`": COSTS.decode + COSTS.balanced + COSTS.caption + COSTS.commit,
    }
    for name, seconds in parts.items():
        hours = seconds * 1e6 / 3600
        rows.append(f"| {name} | {rounded(hours)} | {hours * core_hour:.2f} |")
    return "\n".join(rows)


def machines(cores: int) -> str:
    """What bringing a library in takes, by its size."""
    rows = [
        f"| photos | core hours, `fast` | days of a machine of {cores} cores | machines for a day |"
        " hours of the writer | read, TB | hours at 10 Gbit/s |",
        "|---|---|---|---|---|---|---|",
    ]
    each = COSTS.decode + COSTS.fast + COSTS.caption
    for photos in LIBRARIES:
        hours = photos * each / 3600
        days = hours / cores / 24
        terabytes = photos * FILE / 1e12
        figures = (
            hours,
            days,
            math.ceil(days),
            photos * COSTS.commit / 3600,
            terabytes,
            terabytes * 8e12 / 1e10 / 3600,
        )
        rows.append(f"| {photos:,} | " + " | ".join(map(rounded, figures)) + " |")
    return "\n".join(rows)


def storage(month: float, memory: int) -> str:
    """What is kept, by the size of the library, and what must be in memory."""
    rows = [
        "| photos | catalog, GB | lists, GB | both for a month | memory to publish lists, GB | graph in memory, GB |"
        f" machines of {memory} GB for that |",
        "|---|---|---|---|---|---|---|",
    ]
    for photos in LIBRARIES:
        catalog, lists, publishing, graph = (
            photos * each / 1e9 for each in (COSTS.catalog, COSTS.lists, COSTS.publishing, COSTS.graph)
        )
        figures = (catalog, lists, (catalog + lists) * month, publishing, graph, math.ceil(graph / (memory * USABLE)))
        rows.append(f"| {photos:,} | " + " | ".join(map(rounded, figures)) + " |")
    return "\n".join(rows)


def rounded(value: float) -> str:
    """Two digits that mean something."""
    if value >= 100:
        digits = int(math.log10(value)) - 1
        return f"{round(value, -digits):,.0f}"
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


if __name__ == "__main__":
    main()

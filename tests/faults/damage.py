"""Damage, injected into every file of a home, and what becomes of it: is it noticed, mended, and what is lost?

    python -m tests.faults.damage --rounds 600 --photos 300

makes an index over small pictures, copies it for each round, damages the copy in one way, and then does what a user
would: asks, verifies, repairs, verifies again, asks, and indexes. It prints a table by kind of fault, and below it what
was not noticed. A fault that *changes nothing* hits what no table, no full-text index and no answer has, such as free
pages; commits that are gone with a log that was cut off or deleted cannot be missed by anybody. Each round can be done
again by its seed.
"""

from __future__ import annotations

import functools
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

import search.models.encoder
from indexer.run import run_index
from indexer.verify.run import verify
from search.catalog import descriptions
from search.catalog.changes import NewPhoto, put_photo
from search.catalog.connection import connect_to_write
from search.catalog.damage import UNREADABLE
from search.errors import SightlineError
from search.home import Home

from .base import OPTIONS, Base, answers_of, make_base, precious_of, rows_of, told


@dataclass
class Outcome:
    """What became of one fault."""

    fault: str
    where: str
    seed: int
    harmless: bool = False
    found: bool = False
    answered: str = ""
    repaired: bool = False
    answered_after: str = ""
    kept_all: bool = True
    lost: Counter[str] = field(default_factory=Counter)
    left: list[str] = field(default_factory=list)
    differs: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    told_lost: bool = False
    crash: str = ""


Injection = Callable[[Base, Home, random.Random], str]
"""Damages a home; says where."""


def _files(home: Home, pattern: str) -> list[Path]:
    return sorted(path for path in home.path.glob(pattern) if path.is_file() and path.stat().st_size)


def _change(path: Path, start: int, content: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(start)
        file.write(content)


def _flip(pattern: str) -> Injection:
    def inject(base: Base, home: Home, dice: random.Random) -> str:
        path = dice.choice(_files(home, pattern))
        place = dice.randrange(path.stat().st_size)
        byte = path.read_bytes()[place]
        _change(path, place, bytes([byte ^ 1 << dice.randrange(8)]))
        return f"{path.name} bit at {place}"

    return inject


def _scribble(pattern: str, length: int) -> Injection:
    def inject(base: Base, home: Home, dice: random.Random) -> str:
        path = dice.choice(_files(home, pattern))
        place = dice.randrange(max(1, path.stat().st_size // length)) * length
        _change(path, place, bytes(length) if dice.random() < 0.5 else dice.randbytes(length))
        return f"{path.name} {length} bytes at {place}"

    return inject


def _truncate(pattern: str) -> Injection:
    def inject(base: Base, home: Home, dice: random.Random) -> str:
        path = dice.choice(_files(home, pattern))
        size = dice.randrange(path.stat().st_size)
        with open(path, "r+b") as file:
            file.truncate(size)
        return f"{path.name} cut at {size}"

    return inject


def _delete(pattern: str) -> Injection:
    def inject(base: Base, home: Home, dice: random.Random) -> str:
        path = dice.choice(_files(home, pattern))
        path.unlink()
        return f"{path.name} deleted"

    return inject


def _swap_page(base: Base, home: Home, dice: random.Random) -> str:
    before, now = (base.before / "catalog.db").read_bytes(), home.catalog_path.read_bytes()
    pages = [
        place
        for place in range(0, min(len(before), len(now)), 4096)
        if before[place : place + 4096] != now[place : place + 4096]
    ]
    place = dice.choice(pages)
    _change(home.catalog_path, place, before[place : place + 4096])
    return f"catalog.db page {place // 4096 + 1} of before"


def _copy_page(base: Base, home: Home, dice: random.Random) -> str:
    """Write a page to the place of another, as a disk does that mistakes an address."""
    one, other = dice.sample(range(home.catalog_path.stat().st_size // 4096), 2)
    _change(home.catalog_path, other * 4096, home.catalog_path.read_bytes()[one * 4096 : (one + 1) * 4096])
    return f"catalog.db page {one + 1} at the place of page {other + 1}"


def _foreign_log(base: Base, home: Home, dice: random.Random) -> str:
    other = Home(home.path.with_name("other"))
    shutil.rmtree(other.path, ignore_errors=True)
    connect_to_write(other).close()
    with closing(sqlite3.connect(other.catalog_path)) as reader, closing(connect_to_write(other)) as writer:
        reader.execute("SELECT count(*) FROM photos").fetchone()
        for _ in range(dice.randint(1, 5)):
            with writer:
                for _ in range(dice.randint(1, 40)):
                    number = dice.randrange(10**9)
                    photo = NewPhoto(f"{number:032x}", 4, 3, "JPEG", 1, None, "2000-01-01T00:00:00", *[None] * 4)
                    key = put_photo(writer, photo)
                    descriptions.put_own_caption(writer, key, f"of another catalog, {number}")
        content = Path(f"{other.catalog_path}-wal").read_bytes()
    Path(f"{home.catalog_path}-wal").write_bytes(content)
    return f"catalog.db-wal of another, {len(content)} bytes"


def _swap_vectors(base: Base, home: Home, dice: random.Random) -> str:
    folders = sorted((home.path / "vectors").iterdir())
    newest, older = folders[-1], folders[0]
    name = dice.choice(["index.faiss", "keys.npy", "both"])
    for one in ("index.faiss", "keys.npy"):
        if name in (one, "both"):
            shutil.copy(older / one, newest / one)
    return f"{name} of {older.name}"


def _swap_thumbnails(base: Base, home: Home, dice: random.Random) -> str:
    one, other = dice.sample(_files(home, "thumbnails/*/*.webp"), 2)
    first = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(first)
    return f"{one.name} and {other.name}"


def _log(injection: Injection) -> Injection:
    """Leave commits in the log, as a killed run does, and damage that."""

    def inject(base: Base, home: Home, dice: random.Random) -> str:
        with closing(sqlite3.connect(home.catalog_path)) as reader:
            reader.execute("SELECT count(*) FROM photos").fetchone()
            with closing(connect_to_write(home)) as writer:
                for number in range(20):
                    with writer:
                        writer.execute("UPDATE photos SET lens = ? WHERE key % 20 = ?", (f"lens {number}", number))
            kept = {suffix: Path(f"{home.catalog_path}{suffix}").read_bytes() for suffix in ("", "-wal")}
        for suffix, content in kept.items():
            Path(f"{home.catalog_path}{suffix}").write_bytes(content)
        return injection(base, home, dice)

    return inject


FAULTS: dict[str, Injection] = {
    "catalog: one bit flipped": _flip("catalog.db"),
    "catalog: a sector overwritten": _scribble("catalog.db", 512),
    "catalog: a page overwritten": _scribble("catalog.db", 4096),
    "catalog: truncated": _truncate("catalog.db"),
    "catalog: deleted": _delete("catalog.db"),
    "catalog: a page of the generation before": _swap_page,
    "catalog: a page at another's place": _copy_page,
    "catalog: a log of another beside it": _foreign_log,
    "log: one bit flipped": _log(_flip("catalog.db-wal")),
    "log: truncated": _log(_truncate("catalog.db-wal")),
    "log: deleted": _log(_delete("catalog.db-wal")),
    "vectors: one bit flipped": _flip("vectors/*/*"),
    "vectors: truncated": _truncate("vectors/*/*"),
    "vectors: deleted": _delete("vectors/*/*"),
    "vectors: of the generation before": _swap_vectors,
    "thumbnail: one bit flipped": _flip("thumbnails/*/*.webp"),
    "thumbnail: truncated": _truncate("thumbnails/*/*.webp"),
    "thumbnail: deleted": _delete("thumbnails/*/*.webp"),
    "thumbnail: of another photo": _swap_thumbnails,
}


def one_round(base: Base, fault: str, seed: int, work: Path) -> Outcome:
    """Damage a copy of the home, and see what becomes of it."""
    dice = random.Random(f"{fault} {seed}")
    home = Home(work / "home")
    shutil.rmtree(home.path, ignore_errors=True)
    shutil.copytree(base.home.path, home.path)
    outcome = Outcome(fault, FAULTS[fault](base, home, dice), seed)
    try:
        _live_through(base, home, outcome)
    except Exception as error:  # what no user should ever see
        outcome.crash = f"{type(error).__name__}: {error}"
        if "--traceback" in sys.argv:
            raise
    return outcome


def _live_through(base: Base, home: Home, outcome: Outcome) -> None:
    is_log = outcome.fault.startswith("log")
    outcome.answered = _asked(base, home)
    outcome.harmless = _is_harmless(base, home, outcome)
    with told(home):
        outcome.found = bool(verify(home).problems)
    if not home.catalog_path.exists():
        outcome.lost["the catalog"] += 1
        return
    with told(home):
        repaired = verify(home, repair=True)
        outcome.told_lost = any(note.startswith("Lost:") for note in repaired.notes)
        left = verify(home).problems
        outcome.repaired = repaired.ok and not left
        outcome.left = [problem.what for problem in (*repaired.problems, *left) if not problem.mended]
    if not outcome.repaired and repaired.problems and not repaired.rebuilt and not repaired.checked:
        outcome.lost["the catalog"] += 1  # nothing of it can be read
        return
    now = precious_of(home)
    for name, rows in base.precious.items():
        outcome.lost[name] += len(rows - now[name])
    run_index(home, [base.photos], OPTIONS)
    outcome.kept_all = not verify(home).problems
    outcome.answered_after = _asked(base, home)
    outcome.changed = [] if is_log else _changed(base, home)


def _asked(base: Base, home: Home) -> str:
    try:
        answers = answers_of(home)
    except SightlineError as error:
        assert str(error).endswith("."), error
        return "sentence"
    return "same" if answers == base.answers else "other"


def _is_harmless(base: Base, home: Home, outcome: Outcome) -> bool:
    """Whether everything that the home holds still says what it said."""
    if outcome.fault.startswith(("vectors", "thumbnail")):
        return "deleted" in outcome.fault and outcome.fault.startswith("thumbnail")
    if outcome.fault.startswith("log"):
        # A log that ends before its last commits is as if they never were: what is left must hang together.
        return "bit" not in outcome.fault or _has_all_commits(home)
    try:
        now = rows_of(home)
    except UNREADABLE:
        return False
    outcome.differs = [
        f"{name}: {list(rows ^ base.rows[name])[:2]}"[:300] for name, rows in now.items() if rows != base.rows[name]
    ]
    return not outcome.differs


def _has_all_commits(home: Home) -> bool:
    with closing(sqlite3.connect(f"file:{home.catalog_path}?mode=ro", uri=True)) as reader:
        rows = reader.execute("SELECT key, lens FROM photos").fetchall()
    return all(lens == f"lens {key % 20}" for key, lens in rows)


def _changed(base: Base, home: Home) -> list[str]:
    """In which tables something is otherwise than before the fault, after all is done."""
    now = rows_of(home)
    every = (name for name in base.rows if "_" not in name or name in ("tag_names",))
    return sorted(name for name in every if _plain(name, base.rows[name]) != _plain(name, now[name]))


def _plain(table: str, rows: Iterable[tuple[Any, ...]]) -> set[tuple[Any, ...]]:
    """Rows without numbers and times that differ with each writing."""
    drop = {
        "captions": (3,), "descriptions": (3,), "embeddings": (0, 3), "generations": tuple(range(7)), "files": (0,),
        "libraries": (2, 3), "levels": (2,), "backgrounds": (3, 4), "calibrations": (3,), "models": (6,),
        "photos": (), "searches": (0, 8),
    }.get(table, ())  # fmt: skip
    return {tuple(value for place, value in enumerate(row) if place not in drop) for row in rows}


def run(base: Base, rounds: int, work: Path, faults: Sequence[str], first_seed: int = 0) -> list[Outcome]:
    """So many rounds, shared out among the faults: damage to the catalog is tried most."""
    weights = {
        fault: 12 if fault.startswith("catalog: one") else 4 if fault.startswith("catalog") else 2 for fault in faults
    }
    order = [fault for fault in faults for _ in range(weights[fault])]
    outcomes = []
    for number in range(rounds):
        outcomes.append(one_round(base, order[number % len(order)], first_seed + number, work))
        if sys.stderr.isatty():
            print(f"\r{number + 1} of {rounds}", end="", file=sys.stderr)
    return outcomes


def table(outcomes: Sequence[Outcome]) -> str:
    """A line for each kind of fault, as Markdown."""
    columns = [
        "fault in",
        "how",
        "times",
        "changes nothing",
        "found",
        "unnoticed",
        "answers meanwhile: same / a sentence / others",
        "nothing wrong after `--repair`",
        "the same answers after the next index",
        "lost for good",
    ]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for fault in FAULTS:
        of = [one for one in outcomes if one.fault == fault]
        if not of:
            continue
        answered = Counter(one.answered for one in of)
        lost: Counter[str] = sum((one.lost for one in of), Counter())
        said = ", ".join(f"{count} {name}" for name, count in lost.items() if count) or "nothing"
        values = [
            *fault.split(": "),
            len(of),
            sum(one.harmless and not one.found for one in of),
            sum(one.found for one in of),
            sum(not one.found and not one.harmless for one in of),
            f"{answered['same']} / {answered['sentence']} / {answered['other']}",
            sum(one.repaired for one in of),
            sum(one.answered_after == "same" for one in of),
            said,
        ]
        lines.append(f"| {' | '.join(map(str, values))} |")
    return "\n".join(lines)


def main(
    rounds: Annotated[int, typer.Option(help="How many faults to inject.")] = 200,
    photos: Annotated[int, typer.Option(help="How many pictures the index holds.")] = 200,
    seed: Annotated[int, typer.Option(help="The first of the rounds' seeds.")] = 0,
    only: Annotated[str, typer.Option(help="Only faults whose name begins so.")] = "",
    traceback: Annotated[bool, typer.Option("--traceback", help="Stop at a crash, with its traceback.")] = False,
) -> None:
    """Inject faults and print what became of them."""
    # One model for all rounds; else most of the time would go into loading it.
    search.models.encoder.load_encoder = functools.cache(search.models.encoder.load_encoder)  # type: ignore[assignment]
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="sightline-faults-") as folder:
        base = make_base(Path(folder) / "base", photos)
        outcomes = run(base, rounds, Path(folder), [fault for fault in FAULTS if fault.startswith(only)], seed)
    print(table(outcomes))
    print(f"\n{rounds} rounds over {photos} photos in {time.perf_counter() - began:.0f} s")
    for one in outcomes:
        unnoticed = not one.found and not one.harmless
        in_silence = one.repaired and bool(+one.lost) and not one.told_lost
        left = not one.repaired and "deleted" not in one.fault
        if one.crash or unnoticed or in_silence or not one.kept_all or left:
            lost = dict(+one.lost) or ""
            print(f"- {one.fault}, seed {one.seed}: {one.where}. {one.crash} {lost} {one.left} {one.differs}"[:400])


if __name__ == "__main__":
    typer.run(main)

"""What the commands print for people to read where no JSON is asked for: the same documents, as lines."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from indexer.terminal import minutes, printable

if TYPE_CHECKING:
    from indexer.report import IndexReport
    from indexer.restore import Restored
    from indexer.verify.report import Verification
    from search.answer import Answer, Request
    from search.catalog.backup import Backup


def print_report(report: IndexReport) -> None:
    """A run of the indexer."""
    counts = [
        f"{value} {name.replace('_', ' ')}"
        for name, value in report.counts().items()
        if name != "embedded" and (value or name in ("added", "unchanged"))
    ]
    rate = f" ({report.photos_per_second:.0f} photos/s)" if report.embedded else ""
    print(f"{', '.join(counts)} in {report.seconds:.1f} s{rate}, model {report.model}")
    if report.failed or report.not_described:
        print("`sightline status --failures` says what could not be read or described, and why.")


def print_answer(answer: Answer, request: Request) -> None:
    """A page of hits, one a line; where it stands among them goes to stderr."""
    if not answer.hits:
        nearest = " --all shows the photos that come nearest." if answer.left_out else ""
        print(f"Nothing found.{nearest}" if not answer.total else f"There are only {answer.total} hits.")
        return
    for hit in answer.hits:
        why = ", ".join(sorted({reason.field or reason.signal for reason in hit.why}))
        score = "" if hit.score is None else f"{hit.score:.3f}  "
        more = f"  +{len(hit.others)}" if hit.others else ""
        print(f"{score}{printable(hit.path)}" + (f"  [{why}]" if why else "") + more)
    shown = request.offset + len(answer.hits)
    print(
        f"{request.offset + 1}–{shown} of {answer.total}, {answer.took_ms:.0f} ms, model {answer.model}",
        file=sys.stderr,
    )


def print_status(document: dict[str, Any], failed: list[dict[str, str]]) -> None:
    """The state of the index; `failed` are the failures to list."""
    print(f"{document['photos']} photos in {document['files']} files, {document['failures']} could not be read")
    for library in document["libraries"]:
        indexed = library["indexed_at"] or "never"
        missing = f", {library['missing']} files missing" if library["missing"] else ""
        print(f"  {printable(library['path'])}: {library['photos']} photos, last indexed {indexed}{missing}")
        if library["offline"]:
            print(f"    {printable(library['offline'])}")
    print(f"model {document['model']} ({document['fingerprint']}), {document['embedded']} embedded")
    print(f"home {printable(document['home'])}, generation {document['generation']}")
    if document["vectors"] and not document["vectors"]["exact"]:
        print(f"vectors: {_searched(document['vectors'])}")
    wanted = document["captions"] != "off"
    captions = f" by {document['captions']}: {_progress(document['described']['captions'])}"
    print(f"captions{captions if wanted else ': not written'}")
    print(f"tags: {_progress(document['described']['tags'])}")
    print(f"text in pictures: {_progress(document['described']['text']) if document['ocr'] else 'not read'}")
    for job in document["jobs"]:
        print(
            f"  {job['started_at']} {job['kind']} by {_whom(job)} {job['state']}"
            + (f": {printable(job['message'])}" if job["message"] else "")
            + (f": {_how_far(job['progress'])}" if job["progress"] else "")
        )
    for failure in failed:
        print(printable(f"{failure['path']}: {failure['reason']}"))


def _searched(vectors: dict[str, Any]) -> str:
    least = min(vectors["recall"].values(), default=0.0)
    return f"{vectors['compared']} of {vectors['photos']} compared, which finds {least:.1%} of the nearest"


def _whom(job: dict[str, Any]) -> str:
    """Who asked for a job: a person on a command line, or what runs by itself."""
    return printable(job["user"] or "somebody") if job["cause"] == "command" else f"the {job['cause']}"


def print_verification(found: Verification) -> None:
    """What is wrong with an index, and what was mended of it."""
    counts = [f"{name.replace('_', ' ')} {count}" for name, count in found.checked.items() if count]
    print(f"Checked in {found.seconds:.1f} s: {', '.join(counts) or 'nothing could be'}.")
    for problem in found.problems:
        document = problem.to_json()
        state = "mended" if document["mended"] else "can be mended" if document["mendable"] else "wrong"
        print(f"{state}: {printable(problem.what)}")
    for note in found.notes:
        print(printable(note))
    if not found.problems:
        print("Nothing is wrong.")
    elif any(problem.to_json()["mendable"] and not problem.mended for problem in found.problems):
        print("`sightline verify --repair` mends what can be mended.")


def print_backup(made: Backup) -> None:
    """A backup that was written."""
    print(f"{made.photos} photos, {made.bytes / 1e6:.1f} MB in {made.seconds:.1f} s: {printable(str(made.path))}")
    for place in made.elsewhere:
        print(f"Not in it, since it lies outside the home: {printable(place)}")


def print_restored(done: Restored) -> None:
    """A backup that was restored."""
    print(f"{done.photos} photos restored into {printable(str(done.home))} in {done.seconds:.1f} s.")
    if done.kept is not None:
        print(f"The catalog that was there is kept as {printable(str(done.kept))}.")
    if done.dropped:
        print(f"Left out, since something else than Sightline made it: {printable(', '.join(done.dropped))}.")
    print("`sightline index` brings it up to date with the folders.")


def _how_far(progress: dict[str, Any]) -> str:
    of = f" of {progress['total']}" if progress["total"] is not None else ""
    left = f", about {minutes(progress['seconds_left'])} left" if progress["seconds_left"] is not None else ""
    return f"{progress['stage']}, {progress['done']}{of}{left}"


def _progress(described: dict[str, int]) -> str:
    return f"{described['described']} photos, {described['failed']} failed, {described['waiting']} wait"


def print_models(document: dict[str, Any]) -> None:
    """The presets, and which model the index uses."""
    width = max(len(preset["open_clip_name"]) for preset in document["presets"])
    for preset in document["presets"]:
        state = (
            "used by the index" if preset["used"] else "installed" if preset["installed"] else "downloaded when used"
        )
        print(f"{preset['name']:10} {preset['open_clip_name']:{width}} {preset['purpose']} ({state})")
    if document["index"] and not any(preset["used"] for preset in document["presets"]):
        print(f"The index uses {document['index']['model']}.")


def print_evaluation(document: dict[str, Any]) -> None:
    """The figures of `sightline eval`."""
    if "modes" in document:
        print(f"{document['photos']} photos, {document['texts']} captions, model {document['model']}")
    for mode, ways in document.get("modes", {}).items():
        for way, figures in ways.items():
            values = "  ".join(f"{name} {value:g}" for name, value in figures.items())
            print(f"{mode:8} {way.replace('_', ' '):14}{values}")
    if document.get("captions"):
        values = "  ".join(f"{name} {value:g}" for name, value in document["captions"].items())
        print(f"captions by {document['captioner']}: {values}")
    if "tags" in document:
        tags = document["tags"]
        figures = [f"{name} {'–' if tags[name] is None else tags[name]}" for name in ("precision", "recall")]
        print(f"tags of {tags['photos']} photos with {tags['labels']} labels: {'  '.join(figures)}")


def print_demo(report: IndexReport, outcome: dict[str, Any]) -> None:
    """What the demo indexed, and what its questions found."""
    print_report(report)
    for one in outcome["queries"]:
        mark = {True: "✓ ", False: "✗ "}.get(one.get("right"), "  ")
        print(f"{mark}{one['query']:26} → {printable(', '.join(one['found']))}")
    if any(one.get("right") is False for one in outcome["queries"]):
        print("✗: the small built-in model does not know this one yet; `sightline models` lists stronger models.")

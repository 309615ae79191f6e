"""The report of an evaluation: a Markdown page, the same as JSON, and a picture of the recall curves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from indexer.evaluation import Evaluation

WITHOUT_PICTURE = (
    'The recall curves were not drawn: matplotlib is not installed; `pip install "sightline[eval]"` brings it.'
)
_WAYS = {"text_to_image": "text to image", "image_to_text": "image to text"}
_CAPTIONS = {
    "bleu1": "BLEU-1",
    "bleu2": "BLEU-2",
    "bleu3": "BLEU-3",
    "bleu4": "BLEU-4",
    "meteor": "METEOR, without synonyms",
    "rouge_l": "ROUGE-L",
    "cider": "CIDEr-D",
    "distinct": "different captions",
    "photos": "photos with a caption",
}


def write_report(folder: Path, found: Evaluation) -> bool:
    """Write `report.json`, `report.md` and `recall.png` into `folder`, which is made where it is missing; the same
    evaluation gives the same files. Returns whether the picture could be drawn.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    document = {**found.document, "curves": found.curves}
    (folder / "report.json").write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    drawn = bool(found.curves) and _draw(folder / "recall.png", found.curves)
    (folder / "report.md").write_text(_page(found.document, drawn), encoding="utf-8")
    return drawn or not found.curves


def _page(document: dict[str, Any], drawn: bool) -> str:
    lines = [f"# Evaluation of {document['model']}", ""]
    if "modes" in document:
        split = f", split {document['split']}" if document["split"] else ""
        lines += [
            f"{document['photos']} photos, {document['texts']} texts{split}; captions in the index by:"
            f" {document['captioner']}.",
            "",
            "| mode | way | R@1 | R@5 | R@10 | mean rank | median rank |",
            "|---|---|---|---|---|---|---|",
        ]
        for mode, ways in document["modes"].items():
            lines += [
                f"| {mode} | {_WAYS[way]} | {one['r1']:.1f} | {one['r5']:.1f} | {one['r10']:.1f} |"
                f" {one['mean_rank']:.1f} | {one['median_rank']:g} |"
                for way, one in ways.items()
            ]
        lines += ["", "Recall in per cent.", ""]
    if drawn:
        lines += ["![Recall at 1, 2, …](recall.png)", ""]
    if document.get("captions"):
        lines += ["## Captions", "", "| | |", "|---|---|"]
        lines += [f"| {name} | {document['captions'][key]:g} |" for key, name in _CAPTIONS.items()]
        lines += [""]
    if "tags" in document:
        lines += _tag_lines(document["tags"])
    return "\n".join(lines)


def _tag_lines(tags: dict[str, Any]) -> list[str]:
    rows = [("all", {"tagged": "", **tags}), *tags["per_label"].items()]
    lines = ["## Tags", "", "| label | photos | tagged | precision | recall |", "|---|---|---|---|---|"]
    lines += [
        f"| {label.replace('|', ' ')} | {one['photos']} | {one['tagged']} | {_percent(one['precision'])} |"
        f" {_percent(one['recall'])} |"
        for label, one in rows
    ]
    unknown = f"No tag of the vocabulary: {', '.join(tags['unknown'])}." if tags["unknown"] else ""
    return [*lines, "", *([unknown, ""] if unknown else [])]


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _draw(file: Path, curves: dict[str, dict[str, list[float]]]) -> bool:
    """Recall against the number of hits looked at, one panel for each way, one line for each mode."""
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import NullFormatter, StrMethodFormatter
    except ImportError:
        return False
    figure = Figure(figsize=(9, 4), layout="constrained")
    panels = figure.subplots(1, len(_WAYS), sharey=True)
    for panel, (way, title) in zip(panels, _WAYS.items(), strict=True):
        for mode, ways in curves.items():
            panel.plot(range(1, len(ways[way]) + 1), ways[way], label=mode)
        panel.set(title=title, xlabel="hits looked at", xscale="log", ylim=(0, 100))
        panel.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("recall, per cent")
    panels[0].legend()
    # Without the version of matplotlib, which would make each installation's picture another file.
    figure.savefig(file, dpi=120, metadata={"Software": None})
    return True

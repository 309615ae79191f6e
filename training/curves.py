"""A picture of how a run went, from its log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from training.run import Run


def draw(run: Run, file: Path) -> None:
    """Draw the losses of the stages `image`, `text` and `caption`, and the figures on held-out sets, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    stages = ("image", "text", "caption")
    figure, axes = pyplot.subplots(2, 2, figsize=(11, 7), layout="constrained")
    for axis, stage in zip(axes.flat, stages, strict=False):
        curves: dict[str, list[tuple[int, float]]] = {}
        for line in run.read_log(stage):
            for name, loss in line.get("losses", {}).items():
                curves.setdefault(f"{line['checkpoint']}: {name}", []).append((line["samples"], loss))
        _plot(axis, curves)
        axis.set(title=f"{stage}: losses", xlabel="samples")
    held_out: dict[str, list[tuple[int, float]]] = {}
    for line in run.read_log("image"):
        for name, figures in line.get("held_out", {}).items():
            held_out.setdefault(f"{line['checkpoint']}: {_title(name, figures)}", []).append(
                (line["samples"], figures.get("r10", figures.get("top1")))
            )
    _plot(axes.flat[3], held_out)
    axes.flat[3].set(title="held-out sets, with the teacher's texts", xlabel="samples", ylabel="per cent")
    figure.savefig(file, dpi=100)
    pyplot.close(figure)


def _plot(axis: Any, curves: dict[str, list[tuple[int, float]]]) -> None:
    for name, points in curves.items():
        axis.plot([x for x, _ in points], [y for _, y in points], marker="." if len(points) < 50 else "", label=name)
    if curves:
        axis.legend(fontsize=7)


def _title(name: str, figures: dict[str, Any]) -> str:
    return f"{name} R@10" if "r10" in figures else f"{name} top-1"

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
        lines = [line for line in run.read_log(stage) if "losses" in line]
        for name in lines[-1]["losses"] if lines else ():
            points = [(line["samples"], line["losses"].get(name)) for line in lines]
            axis.plot([x for x, _ in points], [y for _, y in points], label=name)
        axis.set(title=f"{stage}: losses", xlabel="samples")
        if lines:
            axis.legend(fontsize=7)
    held_out: dict[str, list[tuple[int, float]]] = {}
    for line in run.read_log("image"):
        for name, figures in line.get("held_out", {}).items():
            held_out.setdefault(_title(name, figures), []).append(
                (line["samples"], figures.get("r10", figures.get("top1")))
            )
    for name, points in held_out.items():
        axes.flat[3].plot([x for x, _ in points], [y for _, y in points], marker=".", label=name)
    axes.flat[3].set(title="held-out sets, with the teacher's texts", xlabel="samples", ylabel="per cent")
    if held_out:
        axes.flat[3].legend(fontsize=7)
    figure.savefig(file, dpi=100)
    pyplot.close(figure)


def _title(name: str, figures: dict[str, Any]) -> str:
    return f"{name} R@10" if "r10" in figures else f"{name} top-1"

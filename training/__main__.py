"""`python -m training STAGE`: one command a stage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import torch
import typer

from search.errors import SightlineError
from training import finish, stages
from training.curves import draw
from training.image import Schedule
from training.recipe import read_recipe
from training.run import Run

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)

RecipeFile = Annotated[Path, typer.Option("--recipe", help="The TOML file that names photos, texts and teachers.")]
RunFolder = Annotated[Path, typer.Option("--run", help="The folder of this run: checkpoints, figures, log.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Workers = Annotated[int, typer.Option(help="Processes that decode photos or run the image teacher.")]
Threads = Annotated[int, typer.Option(help="Threads of torch in each process.")]


@app.command()
def prepare(recipe: RecipeFile, run: RunFolder, workers: Workers = 2) -> None:
    """Decode all photos into memory maps and gather all texts."""
    stages.prepare(Run(run), read_recipe(recipe), workers)


@app.command()
def teacher(
    recipe: RecipeFile,
    run: RunFolder,
    workers: Workers = 2,
    device: Device = "cpu",
    steps: Annotated[int, typer.Option(help="Updates of the head that joins both teachers.")] = 800,
) -> None:
    """Run both teachers over pictures and texts, and train the head that joins them."""
    stages.teach(Run(run), read_recipe(recipe), workers, device, steps)


@app.command()
def image(
    recipe: RecipeFile,
    run: RunFolder,
    samples: Annotated[int, typer.Option(help="Pictures to see in all; more than before makes a run longer.")],
    side: Annotated[int, typer.Option(help="Edge of the pictures, in pixels.")] = 112,
    batch: Annotated[int, typer.Option(help="Pictures in a batch, of all processes together.")] = 112,
    rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 1.5e-3,
    decay: Annotated[float, typer.Option(help="Share of all samples over which the rate falls to nothing.")] = 0.3,
    tower: Annotated[str, typer.Option(help="timm's name of the image tower.")] = "regnety_002",
    start: Annotated[Path | None, typer.Option(help="A local-dir: checkpoint to begin from, else random.")] = None,
    processes: Annotated[int, typer.Option(help="Processes that learn together, one thread each.")] = 1,
    threads: Threads = 1,
    device: Device = "cpu",
    checkpoint: Annotated[str, typer.Option(help="Name of the checkpoint to go on from and to write.")] = "tower",
    measure_every: Annotated[int, typer.Option(help="Samples between measurements on held-out sets.")] = 100_000,
) -> None:
    """Train the image tower."""
    torch.set_num_threads(threads)
    schedule = Schedule(samples, side, batch // processes, rate, decay)
    stages.train_image(
        Run(run),
        read_recipe(recipe),
        stages.ImageOptions(schedule, tower, start, processes, device, checkpoint, measure_every),
    )


@app.command()
def text(
    recipe: RecipeFile,
    run: RunFolder,
    samples: Annotated[int, typer.Option(help="Texts to see in all.")] = 1_000_000,
    batch: Annotated[int, typer.Option(help="Texts in a batch.")] = 512,
    rate: Annotated[float, typer.Option(help="Highest learning rate; the token embedding has twice that.")] = 2e-3,
    start: Annotated[Path | None, typer.Option(help="A local-dir: checkpoint to begin from, else random.")] = None,
    threads: Threads = 1,
    device: Device = "cpu",
) -> None:
    """Train the text tower."""
    torch.set_num_threads(threads)
    stages.train_text(Run(run), read_recipe(recipe), stages.TextOptions(samples, batch, rate, start, device))


@app.command()
def align(
    recipe: RecipeFile,
    run: RunFolder,
    steps: Annotated[int, typer.Option(help="Updates.")] = 400,
    side: Annotated[int, typer.Option(help="Edge of the pictures, in pixels.")] = 128,
    checkpoint: Annotated[str, typer.Option(help="Name of the image tower's checkpoint.")] = "tower",
    threads: Threads = 1,
    device: Device = "cpu",
) -> None:
    """Move the text tower towards the finished image tower."""
    torch.set_num_threads(threads)
    finish.align_text(Run(run), read_recipe(recipe), checkpoint=checkpoint, side=side, steps=steps, device=device)


@app.command()
def caption(
    recipe: RecipeFile,
    run: RunFolder,
    samples: Annotated[int, typer.Option(help="Captions to see in all.")] = 500_000,
    batch: Annotated[int, typer.Option(help="Captions in a batch.")] = 128,
    rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 1e-3,
    side: Annotated[int, typer.Option(help="Edge of the pictures, in pixels.")] = 128,
    layers: Annotated[int, typer.Option(help="Layers of the decoder.")] = 3,
    width: Annotated[int, typer.Option(help="Width of the decoder.")] = 256,
    checkpoint: Annotated[str, typer.Option(help="Name of the image tower's checkpoint.")] = "tower",
    threads: Threads = 1,
    device: Device = "cpu",
) -> None:
    """Train the captioner over the finished image tower."""
    torch.set_num_threads(threads)
    options = finish.CaptionOptions(samples, batch, rate, side, layers, width, checkpoint, device)
    finish.train_captioner(Run(run), read_recipe(recipe), options)


@app.command()
def export(
    run: RunFolder,
    to: Annotated[Path, typer.Option(help="The folder to write.")],
    side: Annotated[int, typer.Option(help="Edge at which pictures are to be used.")] = 128,
) -> None:
    """Write the model as it ships: open_clip's local-dir: layout, and the captioner beside it."""
    finish.export_model(Run(run), to, side)


@app.command()
def score(
    recipe: RecipeFile,
    run: RunFolder,
    model: Annotated[Path, typer.Option(help="The exported folder.")],
    captions: Annotated[Path | None, typer.Option(help="Captions in Karpathy's JSON format.")] = None,
    images: Annotated[Path | None, typer.Option(help="The folder with their photos.")] = None,
    split: Annotated[str | None, typer.Option(help="Only photos of this split.")] = None,
    beams: Annotated[int, typer.Option(help="Beams of the captioner's search; 1 is greedy.")] = 3,
) -> None:
    """Measure an exported model through open_clip alone; prints JSON."""
    figures = finish.score_model(Run(run), read_recipe(recipe), model, captions, images, split, beams)
    typer.echo(json.dumps(figures, indent=1))


@app.command()
def curves(run: RunFolder, to: Annotated[Path, typer.Option(help="The PNG to write.")] = Path("curves.png")) -> None:
    """Draw how the run went."""
    draw(Run(run), to)


def main() -> None:
    """Run a stage; what is wrong is one sentence, with status 1."""
    try:
        app(standalone_mode=True)
    except SightlineError as error:
        typer.echo(f"Error: {error}", err=True)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()

"""The stages after both towers: alignment, captioner, export, and the figures of what came out."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from indexer.describe.decoder import DecoderShape
from indexer.describe.starter import CONFIG_FILE, WEIGHTS_FILE, load_starter_captioner
from search import caption_metrics
from search.evaluate import read_karpathy
from training import align, caption, corpus, crops, export, pictures, score, student, targets, text, tokens
from training.recipe import PhotoSet, Recipe, RecipeError
from training.run import Run
from training.stages import load_head, say
from training.wordnet import WordNet

_VIEWS = 6
_VIEW_CROP = 0.6


def align_text(run: Run, recipe: Recipe, *, checkpoint: str, side: int, steps: int, device: str) -> None:
    """Move the text tower towards the finished image tower, and keep the whole CLIP as `clip.pt`."""
    network, config = _towers(run, checkpoint, side)
    classes = targets.class_list([pictures.load(run, photos.name) for photos in recipe.training])
    wordnet = None if recipe.wordnet is None else WordNet(recipe.wordnet)
    prompts = [corpus.class_texts(name, wordnet) for name in classes]
    wordings = [text for own in prompts for text in (own[i % len(own)] for i in range(12))]
    captioned = _captioned(recipe)
    say("embedding the pictures")
    photos = _look(network.visual, pictures.load(run, captioned.name), side, _VIEWS, device)[1]
    rows, labels = [], []
    for found in recipe.training:
        loaded = pictures.load(run, found.name)
        numbers = torch.tensor([-1 if name is None else classes.index(name) for name in loaded.classes])
        if (numbers >= 0).any():
            rows.append(_look(network.visual, loaded, side, 1, device)[1][:, 0][numbers >= 0])
            labels.append(numbers[numbers >= 0])
    texts = json.loads(run.path("texts/corpus.json", made_by="prepare").read_text(encoding="utf-8"))
    sentences = np.load(run.path("texts/embeddings.npy", made_by="teacher"), mmap_mode="r")
    joined = load_head(run)
    some = np.sort(np.random.default_rng(0).choice(len(texts), min(100_000, len(texts)), replace=False))
    with torch.no_grad():
        goals = joined.text(torch.from_numpy(np.asarray(sentences[some], dtype=np.float32)))
    written = targets.picture_captions(captioned, pictures.load(run, captioned.name))
    examples = align.Examples(
        photos,
        tokens.tokenize([_raw_or_plain(own[i % len(own)], i) for own in written for i in range(10)]).unflatten(
            0, (-1, 10)
        ),
        torch.cat(rows) if rows else torch.zeros(0, photos.shape[-1]),
        torch.cat(labels) if labels else torch.zeros(0, dtype=torch.int64),
        tokens.tokenize(wordings).unflatten(0, (-1, 12))
        if wordings
        else torch.zeros(0, 1, tokens.LENGTH, dtype=torch.int64),
        torch.from_numpy(tokens.corpus_tokens(run, texts)[some].astype(np.int64)),
        goals,
    )
    started = time.monotonic()
    aligned = align.align(text.TextStudent(network), examples, steps=steps)
    network.load_state_dict(aligned.state_dict(), strict=False)
    run.save("clip.pt", {"network": network.state_dict(), "config": config})
    run.log("align", steps=steps, seconds=round(time.monotonic() - started))
    say(f"aligned in {time.monotonic() - started:.0f} s")


def _raw_or_plain(written: str, i: int) -> str:
    """Every other round of captions as people typed them, the others as queries are typed."""
    return corpus.plain(written) if i < 5 else written.strip().lower()


@dataclass(frozen=True)
class CaptionOptions:
    """What the stage `caption` is asked for."""

    samples: int
    batch: int
    rate: float
    side: int
    layers: int
    width: int
    device: str


def train_captioner(run: Run, recipe: Recipe, options: CaptionOptions) -> None:
    """Train the captioner over the image tower of `clip.pt`; its state is `caption/decoder.pt`."""
    network = _clip(run)[0]
    captioned = _captioned(recipe)
    loaded = pictures.load(run, captioned.name)
    say("looking at the captioned pictures")
    places, embeddings = _look(network.visual, loaded, options.side, _VIEWS, options.device)
    written = targets.picture_captions(captioned, loaded)
    each = 5
    plain = [corpus.plain(own[i % len(own)]) for own in written for i in range(each)]
    coded = _words(plain)
    kept = caption.vocabulary(torch.tensor([token for own in coded for token in own]))
    # A caption with a word too rare to be learnt is replaced by another of the same photo.
    rows = []
    for start in range(0, len(coded), each):
        fit = [found for own in coded[start : start + each] if (found := caption.numbered([own], kept, 24)) is not None]
        rows.append(torch.cat([fit[i % len(fit)] for i in range(each)]) if fit else None)
    usable = torch.tensor([i for i, row in enumerate(rows) if row is not None])
    seen = caption.SeenPhotos(places[usable], embeddings[usable], torch.stack([row for row in rows if row is not None]))
    shape = DecoderShape(
        words=len(kept) + 3,
        places=places.shape[2],
        features=places.shape[3],
        embedding=embeddings.shape[2],
        layers=options.layers,
        width=options.width,
    )
    training = caption.CaptionTraining(shape, options.samples, options.rate, options.device)
    saved = run.load("caption/decoder.pt")
    if saved is not None and saved["vocabulary"] == kept and saved["shape"] == shape.as_dict():
        training.restore(saved)
        say(f"on from {training.seen:,} captions")

    def save() -> None:
        run.save("caption/decoder.pt", {**training.state(), "vocabulary": kept, "shape": shape.as_dict()})

    generator = torch.Generator().manual_seed(training.seen)
    spoke = last = time.monotonic()
    losses: list[float] = []
    while training.seen < options.samples:
        chosen = torch.randint(len(usable), (options.batch,), generator=generator)
        view = torch.randint(_VIEWS, (options.batch,), generator=generator)
        which = torch.randint(each, (options.batch,), generator=generator)
        losses.append(
            training.step(seen.places[chosen, view], seen.embeddings[chosen, view], seen.words[chosen, which])
        )
        now = time.monotonic()
        if now - spoke > 20:
            say(f"{training.seen:,} of {options.samples:,} captions, loss {np.mean(losses):.3f}")
            run.log("caption", samples=training.seen, losses={"caption": round(float(np.mean(losses)), 4)})
            spoke, losses = now, []
        if now - last > 120:
            save()
            last = now
    save()


def export_model(run: Run, folder: Path, side: int) -> None:
    """Write CLIP and captioner as they ship."""
    network, config = _clip(run)
    size = export.export(folder, config, network.state_dict(), side)
    saved = run.load("caption/decoder.pt")
    if saved is not None:
        document = {**saved["shape"], "vocabulary": saved["vocabulary"]}
        size += export.export_captioner(folder / CONFIG_FILE, folder / WEIGHTS_FILE, document, saved["average"])
    run.log("export", bytes=size, side=side)
    say(f"{folder}: {size / 1e6:.1f} MB")


def score_model(
    run: Run, recipe: Recipe, folder: Path, captions: Path | None, images: Path | None, split: str | None, beams: int
) -> dict[str, Any]:
    """Every figure of an exported model, through open_clip alone; on the held-out labelled sets of the recipe, and on
    a captioned set in Karpathy's format where one is given."""
    model = score.OpenClipModel(folder)
    wordnet = None if recipe.wordnet is None else WordNet(recipe.wordnet)
    figures: dict[str, Any] = {"model": str(folder)}
    for photos in recipe.photos:
        if photos.held_out and photos.labels != "none":
            figures[photos.name] = score.zero_shot_figures(model, photos, wordnet)
    if captions is not None and images is not None:
        figures["retrieval"] = score.retrieval_figures(model, captions, images, split)
        if (folder / CONFIG_FILE).exists():
            found = read_karpathy(captions, images, split)
            captioner = load_starter_captioner(folder=folder, device="cpu", beams=beams)
            from PIL import Image

            opened = (Image.open(images / name).convert("RGB") for name in found.names)
            own = [one.text for image in opened for one in captioner.caption([image])]
            figures["captions"] = {
                "bleu": [round(value, 2) for value in caption_metrics.bleu(own, found.captions)],
                "cider": round(caption_metrics.cider(own, found.captions), 3),
                "distinct": len(set(own)),
            }
    run.log("score", **figures)
    return figures


def _towers(run: Run, checkpoint: str, side: int) -> tuple[Any, dict[str, Any]]:
    """A CLIP of both towers' averages, as the stages `image` and `text` have left them."""
    image, words = run.load(f"image/{checkpoint}.pt", made_by="image"), run.load("text/tower.pt", made_by="text")
    assert image is not None and words is not None
    config = image["config"]
    config["model_cfg"]["vision_cfg"]["image_size"] = side
    network = student.build(config)
    visual = {name[len("tower.") :]: value for name, value in image["average"].items() if name.startswith("tower.")}
    network.visual.load_state_dict(visual)
    network.load_state_dict(words["average"], strict=False)
    return network.eval(), config


def _clip(run: Run) -> tuple[Any, dict[str, Any]]:
    saved = run.load("clip.pt", made_by="align")
    assert saved is not None
    network = student.build(saved["config"])
    network.load_state_dict(saved["network"])
    return network.eval(), saved["config"]


def _captioned(recipe: Recipe) -> PhotoSet:
    for photos in recipe.training:
        if photos.captions is not None:
            return photos
    raise RecipeError("No [[photos]] with captions: both the alignment and the captioner learn from them.")


def _look(visual: Any, loaded: pictures.Pictures, side: int, views: int, device: str) -> tuple[Tensor, Tensor]:
    """Feature maps float16 [n, views, places, channels] and unit embeddings float32 [n, views, d] of pictures.

    The first view is the whole picture, the others are crops. Maps are kept for several views alone.
    """
    generator = torch.Generator().manual_seed(0)
    visual = visual.to(device).eval().to(memory_format=torch.channels_last)
    maps, embeddings = [], []
    for start in range(0, len(loaded), 100):
        pixels = torch.tensor(loaded.pixels[start : start + 100]).permute(0, 3, 1, 2).float().div_(255)
        own_maps, own = [], []
        for view in range(views):
            boxes = crops.whole(len(pixels)) if view == 0 else crops.random_crops(len(pixels), _VIEW_CROP, generator)
            batch = student.normalised(boxes.cut(pixels, side).to(device))
            with torch.inference_mode(), torch.autocast(device, torch.bfloat16):
                features = visual.trunk.forward_features(batch)
                embedding = visual.head(visual.trunk.forward_head(features, pre_logits=True))
            own.append(functional.normalize(embedding.float(), dim=-1).cpu())
            if views > 1:
                own_maps.append(features.flatten(2).transpose(1, 2).half().cpu())
        embeddings.append(torch.stack(own, dim=1))
        if views > 1:
            maps.append(torch.stack(own_maps, dim=1))
    return torch.cat(maps) if maps else torch.empty(0), torch.cat(embeddings)


def _words(captions: list[str]) -> list[list[int]]:
    """The tokens of each caption, without start and end."""
    from open_clip.tokenizer import SimpleTokenizer

    tokenizer = SimpleTokenizer()
    return [tokenizer.encode(text) for text in captions]

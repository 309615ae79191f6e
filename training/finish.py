"""The stages after both towers: alignment, captioner, export, and the figures of what came out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from indexer.describe.decoder import SPECIAL, DecoderShape
from indexer.describe.starter import CONFIG_FILE, WEIGHTS_FILE, load_starter_captioner
from search import caption_metrics
from search.evaluate import read_karpathy
from training import align, caption, corpus, crops, export, pictures, score, student, targets, text, tokens
from training.journal import Journal, Seldom, say
from training.recipe import PhotoSet, Recipe, RecipeError
from training.run import Run
from training.stages import load_head

_VIEWS = 6
_VIEW_CROP = 0.6
# Labelled pictures of each set that the text tower is aligned with.
_LABELLED = 5000
_LENGTH = 24  # of a caption in tokens, with start and end
_BATCH = 32


def align_text(run: Run, recipe: Recipe, *, checkpoint: str, side: int, steps: int, device: str) -> None:
    """Move the text tower towards the finished image tower, and keep the whole CLIP as `clip.pt`."""
    network, config, tower = _image_tower(run, checkpoint, side)
    words = run.load("text/tower.pt", made_by="text")
    assert words is not None
    network.load_state_dict(words["average"], strict=False)
    classes = targets.class_list([pictures.load(run, photos.name) for photos in recipe.training])
    wordings = [text for own in targets.class_wordings(classes, recipe.dictionary()) for text in own]
    captioned = _captioned(recipe)
    say("embedding the pictures")
    photos = _look(network.visual, pictures.load(run, captioned.name), side, _VIEWS, device)[1]
    rows, labels = [], []
    for found in recipe.training:
        loaded = pictures.load(run, found.name)
        some = loaded.sample(_LABELLED)
        numbers = targets.class_numbers(some, classes)
        if (numbers >= 0).any():
            rows.append(_look(network.visual, some, side, 1, device)[1][:, 0][numbers >= 0])
            labels.append(numbers[numbers >= 0])
    texts = run.read_json("texts/corpus.json", made_by="prepare")
    sentences = np.load(run.path("texts/embeddings.npy", made_by="teacher"), mmap_mode="r")
    joined = load_head(run)
    kept = np.sort(np.random.default_rng(0).choice(len(texts), min(100_000, len(texts)), replace=False))
    with torch.no_grad():
        goals = joined.text(torch.from_numpy(np.asarray(sentences[kept], dtype=np.float32)))
    written = targets.picture_captions(captioned, pictures.load(run, captioned.name))
    examples = align.Examples(
        photos,
        tokens.tokenize([typed for own in written for typed in _as_typed(own)]).unflatten(0, (len(written), -1)),
        torch.cat(rows) if rows else torch.zeros(0, photos.shape[-1]),
        torch.cat(labels) if labels else torch.zeros(0, dtype=torch.int64),
        tokens.tokenize(wordings).view(len(classes), targets.WORDINGS, tokens.LENGTH),
        torch.from_numpy(tokens.corpus_tokens(run, texts)[kept].astype(np.int64)),
        goals,
    )
    started = time.monotonic()
    aligned = align.align(text.TextStudent(network), examples, steps=steps, progress=Seldom(say))
    network.load_state_dict(aligned.state_dict(), strict=False)
    run.save("clip.pt", {"network": network.state_dict(), "config": config, "tower": tower})
    run.log("align", steps=steps, seconds=round(time.monotonic() - started))
    say(f"aligned in {time.monotonic() - started:.0f} s")


def _as_typed(captions: list[str]) -> list[str]:
    """Captions as queries are typed, and the same as people wrote them."""
    own = targets.repeated(captions, targets.CAPTIONS)
    return [corpus.plain(caption) for caption in own] + [caption.strip().lower() for caption in own]


@dataclass(frozen=True)
class CaptionOptions:
    """What the stage `caption` is asked for."""

    samples: int
    batch: int
    rate: float
    side: int
    layers: int
    width: int
    checkpoint: str
    device: str


def train_captioner(run: Run, recipe: Recipe, options: CaptionOptions) -> None:
    """Train the captioner over the finished image tower; its state is `caption/decoder.pt`."""
    network, _, tower = _image_tower(run, options.checkpoint, options.side)
    captioned = _captioned(recipe)
    loaded = pictures.load(run, captioned.name)
    say("looking at the captioned pictures")
    places, embeddings = _look(network.visual, loaded, options.side, _VIEWS, options.device)
    written = targets.picture_captions(captioned, loaded)
    each = targets.CAPTIONS
    coded = _words([corpus.plain(caption) for own in written for caption in targets.repeated(own, each)])
    kept = caption.vocabulary(torch.tensor([token for own in coded for token in own]))
    numbers = {token: SPECIAL + i for i, token in enumerate(kept)}
    # A caption with a word too rare to be learnt is replaced by another of the same photo.
    rows = []
    for start in range(0, len(coded), each):
        own = [caption.numbered(tokens_of, numbers, _LENGTH) for tokens_of in coded[start : start + each]]
        fit = [found for found in own if found is not None]
        rows.append(torch.stack([fit[i % len(fit)] for i in range(each)]) if fit else None)
    usable = torch.tensor([i for i, row in enumerate(rows) if row is not None])
    seen = caption.SeenPhotos(places[usable], embeddings[usable], torch.stack([row for row in rows if row is not None]))
    shape = DecoderShape(
        words=SPECIAL + len(kept),
        places=places.shape[2],
        features=places.shape[3],
        embedding=embeddings.shape[2],
        layers=options.layers,
        width=options.width,
        length=_LENGTH,
    )
    training = caption.CaptionTraining(shape, options.samples, options.rate, options.device)
    learner = training.learner
    kind = {"vocabulary": kept, "shape": shape.as_dict(), "side": options.side}
    saved = run.load("caption/decoder.pt")
    if saved is not None and all(saved[key] == value for key, value in kind.items()):
        if saved["tower"] == tower:
            learner.restore(saved)
        else:
            # The image tower has moved on: what was learnt from its earlier state is still the best to begin with.
            learner.begin_with(saved["average"])

    def save() -> None:
        run.save("caption/decoder.pt", {**learner.state(), **kind, "tower": tower})

    journal = Journal(run, "caption", "decoder", options.samples, learner.seen, save)
    generator = torch.Generator().manual_seed(learner.seen)

    def drawn(limit: int) -> Tensor:
        return torch.randint(limit, (options.batch,), generator=generator)

    while learner.seen < options.samples:
        chosen, view, which = drawn(len(usable)), drawn(_VIEWS), drawn(each)
        batch = seen.places[chosen, view], seen.embeddings[chosen, view], seen.words[chosen, which]
        journal(learner.seen, training.step(*batch))
    journal.close()


def export_model(run: Run, folder: Path, side: int) -> None:
    """Write CLIP and captioner as they ship."""
    network, config, tower = _clip(run)
    size = export.export(folder, config, network.state_dict(), side)
    saved = run.load("caption/decoder.pt")
    if saved is not None:
        if saved["side"] != side or saved["tower"] != tower:
            raise RecipeError(
                f"The captioner was made for another state of the image tower, or for pictures of {saved['side']} px: "
                "run the stages `align` and `caption` again, or give that `--side`."
            )
        document = {**saved["shape"], "vocabulary": saved["vocabulary"]}
        size += export.export_captioner(folder / CONFIG_FILE, folder / WEIGHTS_FILE, document, saved["average"])
    run.log("export", bytes=size, side=side)
    say(f"{folder}: {size / 1e6:.1f} MB")


def score_model(
    run: Run, recipe: Recipe, folder: Path, captions: Path | None, images: Path | None, split: str | None, beams: int
) -> dict[str, Any]:
    """Every figure of an exported model, through open_clip alone; on the held-out labelled sets of the recipe, and on
    a captioned set in Karpathy's format where one is given.

    Raises:
        RecipeError: captions without photos, or photos without captions.
        SightlineError: what is wrong with the captioned set or the captioner.
    """
    if (captions is None) != (images is None):
        raise RecipeError("`--captions` and `--images` go together.")
    model = score.OpenClipModel(folder)
    wordnet = recipe.dictionary()
    figures: dict[str, Any] = {"model": str(folder)}
    for photos in recipe.photos:
        if photos.held_out and photos.labels != "none":
            figures[photos.name] = score.zero_shot_figures(model, photos, wordnet)
    if captions is not None and images is not None:
        figures["retrieval"] = score.retrieval_figures(model, captions, images, split)
        if (folder / CONFIG_FILE).exists():
            found = read_karpathy(captions, images, split)
            captioner = load_starter_captioner(folder=folder, device="cpu", beams=beams)
            own: list[str] = []
            for start in range(0, len(found.names), _BATCH):
                opened = [Image.open(images / name).convert("RGB") for name in found.names[start : start + _BATCH]]
                own += [one.text for one in captioner.caption(opened)]
            figures["captions"] = {
                "bleu": [round(value, 2) for value in caption_metrics.bleu(own, found.captions)],
                "cider": round(caption_metrics.cider(own, found.captions), 3),
                "distinct": len(set(own)),
            }
    run.log("score", **figures)
    return figures


def _image_tower(run: Run, checkpoint: str, side: int) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """A CLIP with the running average of the stage `image` as its image tower, its configuration, and which state of
    which checkpoint it is."""
    saved = run.load(f"image/{checkpoint}.pt", made_by="image")
    assert saved is not None
    config = saved["config"]
    config["model_cfg"]["vision_cfg"]["image_size"] = side
    network = student.build(config)
    tower = {name[len("tower.") :]: value for name, value in saved["average"].items() if name.startswith("tower.")}
    network.visual.load_state_dict(tower)
    return network.eval(), config, {"checkpoint": checkpoint, "seen": saved["seen"]}


def _clip(run: Run) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    saved = run.load("clip.pt", made_by="align")
    assert saved is not None
    network = student.build(saved["config"])
    network.load_state_dict(saved["network"])
    return network.eval(), saved["config"], saved["tower"]


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

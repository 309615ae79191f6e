"""The stages of a run, in their order; each takes what the ones before have left in the run's folder."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed
from torch.multiprocessing.spawn import spawn

from training import corpus, head, image, measure, pictures, student, targets, teacher, text, tokens
from training.journal import Journal, Seldom, say
from training.recipe import Recipe, read_captions
from training.run import Run
from training.sentences import Sentences, SentenceTeacher


def prepare(run: Run, recipe: Recipe, workers: int) -> None:
    """Decode all photos and gather all texts."""
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        for photos in recipe.photos:
            say(f"{photos.name}: {len(pictures.prepare(run, photos, pool)):,} pictures of {photos.side} px")
    written = [caption for file in recipe.texts for own in read_captions(file).values() for caption in own]
    for photos in recipe.training:
        if photos.captions is not None:
            own = targets.picture_captions(photos, pictures.load(run, photos.name))
            written += [caption for captions in own for caption in captions]
    classes = targets.class_list([pictures.load(run, photos.name) for photos in recipe.training])
    texts = corpus.build(written, classes, recipe.dictionary())
    if not run.path("texts/corpus.json").exists() or run.read_json("texts/corpus.json", made_by="prepare") != texts:
        # What belongs to the rows of another corpus must go first.
        for name in ("embeddings", "tokens"):
            run.path(f"texts/{name}.npy").unlink(missing_ok=True)
        run.save_json("texts/corpus.json", texts)
    run.log("prepare", captions=len(written), classes=len(classes), texts=len(texts))
    say(f"{len(written):,} captions and {len(classes):,} classes: {len(texts):,} texts")


def teach(run: Run, recipe: Recipe, workers: int, device: str, head_steps: int) -> None:
    """Run both teachers over all pictures and texts, and train the head that joins them."""
    sample = [(pictures.load(run, photos.name), photos.share) for photos in recipe.training if photos.share]
    projection = teacher.fit_projection(run, recipe.image_teacher, sample)
    say(f"the components keep {100 * projection.kept:.1f} % of the features' variance")
    for photos in recipe.photos:
        teacher.extract(run, recipe.image_teacher, pictures.load(run, photos.name), projection, workers, Seldom(say))
    if not run.path("texts/embeddings.npy").exists():
        texts = run.read_json("texts/corpus.json", made_by="prepare")
        embeddings = SentenceTeacher(recipe.text_teacher, device).embed(texts, progress=Seldom(say))
        run.save_array("texts/embeddings.npy", embeddings)
    # Another head would be another space than the one that towers may have begun to learn.
    if not run.path("teacher/head.pt").exists():
        train_head(run, recipe, device, head_steps)


def train_head(run: Run, recipe: Recipe, device: str, steps: int) -> None:
    """Train the teacher's head and measure it on the held-out captioned sets."""
    sentences = Sentences(run, recipe.text_teacher, device)
    loaded = {photos.name: pictures.load(run, photos.name) for photos in recipe.photos}
    pooled = {name: _pooled(run, name) for name in loaded}
    classes = targets.class_list([loaded[photos.name] for photos in recipe.training])
    captioned = [photos for photos in recipe.training if photos.captions is not None]
    labels = {photos.name: targets.class_numbers(loaded[photos.name], classes) for photos in recipe.training}
    labelled = torch.cat([pooled[name][own >= 0] for name, own in labels.items()])
    texts = torch.cat([targets.caption_sentences(photos, loaded[photos.name], sentences) for photos in captioned])
    torch.manual_seed(0)
    made = head.TeacherHead(teacher.load_projection(run).strength, sentence_width=texts.shape[-1])
    started = time.monotonic()
    loss = head.train_head(
        made,
        torch.cat([torch.tensor(teacher.load_maps(run, photos.name)).permute(0, 3, 1, 2) for photos in captioned]),
        torch.cat([head.fold_of(len(loaded[photos.name])) for photos in captioned]),
        texts,
        labelled,
        torch.cat([own[own >= 0] for own in labels.values()]),
        targets.class_sentences(classes, recipe.dictionary(), sentences),
        steps=steps,
    )
    run.save("teacher/head.pt", made.state_dict())
    figures: dict[str, Any] = {"loss": round(loss, 3), "seconds": round(time.monotonic() - started, 1)}
    with torch.no_grad():
        for photos in recipe.photos:
            if photos.captions is None:
                continue
            # At most 1,000 photos, so that the figures compare; training photos by networks that never saw them.
            some = pooled[photos.name][:1000]
            folds = None if photos.held_out else head.fold_of(len(some))
            wanted = made.text(targets.caption_sentences(photos, loaded[photos.name], sentences))
            figures[photos.name] = measure.captioned(made.image(some, folds).numpy(), wanted[:1000])
    run.log("teacher", **figures)
    say(f"teacher head: {figures}")


def load_head(run: Run) -> head.TeacherHead:
    """The trained head."""
    state = run.load("teacher/head.pt", made_by="teacher")
    assert state is not None
    made = head.TeacherHead(state["strength"], state["text_side.weight"].shape[1])
    made.load_state_dict(state)
    return made.eval()


@dataclass(frozen=True)
class ImageOptions:
    """What the stage `image` is asked for, beside its schedule."""

    schedule: image.Schedule
    tower: str
    start: Path | None
    processes: int
    device: str
    checkpoint: str
    measure_every: int


def train_image(run: Run, recipe: Recipe, options: ImageOptions) -> None:
    """Train the image tower, in several processes where asked, each on one share of the batch."""
    if options.processes == 1:
        _train_image(0, run.folder, recipe, options)
    else:
        # What is wrong is better found here than in a process of its own.
        load_head(run)
        # A killed run leaves the addresses of its dead processes behind.
        _rendezvous(run, options).unlink(missing_ok=True)
        spawn(_train_image, (run.folder, recipe, options), nprocs=options.processes)


def _rendezvous(run: Run, options: ImageOptions) -> Path:
    return run.path(f"image/{options.checkpoint}.rendezvous").resolve()


def _train_image(rank: int, folder: Path, recipe: Recipe, options: ImageOptions) -> None:
    run, device, schedule = Run(folder), options.device, options.schedule
    if options.processes > 1:
        torch.set_num_threads(1)
        meeting = f"file://{_rendezvous(run, options)}"
        torch.distributed.init_process_group("gloo", meeting, rank=rank, world_size=options.processes)
    torch.manual_seed(0)  # the same heads in every process
    sentences = Sentences(run, recipe.text_teacher, device)
    joined = load_head(run)
    strength = teacher.load_projection(run).strength
    goal = targets.gather(run, recipe, joined, sentences, strength)
    config = student.configuration(options.tower, schedule.side)
    if options.start is None:
        network = student.build(config)
    else:
        network, started = student.load(options.start)
        config["model_cfg"] = started["model_cfg"]
    training = image.ImageTraining(
        student.ImageStudent(network.visual, len(goal.classes), len(strength)), joined, goal, schedule, device
    )
    learner = training.learner
    saved = run.load(f"image/{options.checkpoint}.pt")
    if saved is not None:
        learner.restore(saved)

    def save() -> None:
        run.save(f"image/{options.checkpoint}.pt", {**learner.state(), "config": config})

    torch.manual_seed(rank)
    first = rank == 0  # which measures, says and saves for all
    if first:
        examiner = _Examiner(run, recipe, joined, sentences, options)
        journal = Journal(run, "image", options.checkpoint, schedule.samples, learner.seen, save)
    examined = learner.seen // options.measure_every
    batches = iter(image.Batches(goal, schedule, seed=1000 * rank + learner.seen, device=device))
    while learner.seen < schedule.samples:
        losses = training.step(next(batches))
        if first:
            journal(learner.seen, losses)
            if learner.seen // options.measure_every > examined:
                examined = learner.seen // options.measure_every
                examiner(training)
    if first:
        journal.close()
        examiner(training)
    if options.processes > 1:
        torch.distributed.destroy_process_group()


# Pictures of each labelled set that are measured while training.
_EXAMINED = 2000


class _Examiner:
    """Measures the running average on the held-out sets, with the teacher's texts."""

    def __init__(
        self, run: Run, recipe: Recipe, joined: head.TeacherHead, sentences: Sentences, options: ImageOptions
    ) -> None:
        self._run, self._options = run, options
        self._captioned, self._labelled = [], []
        wordnet = recipe.dictionary()
        with torch.no_grad():
            for photos in recipe.photos:
                if not photos.held_out:
                    continue
                found = pictures.load(run, photos.name)
                if photos.captions is not None:
                    texts = joined.text(targets.caption_sentences(photos, found, sentences))
                    self._captioned.append((found, texts))
                if classes := targets.class_list([found]):
                    some = found.sample(_EXAMINED)
                    prompts = joined.text(targets.class_sentences(classes, wordnet, sentences))
                    self._labelled.append((some, prompts, targets.class_numbers(some, classes)))

    def __call__(self, training: image.ImageTraining) -> None:
        averaged = training.learner.average.applied(training.student)
        side, device = self._options.schedule.side, self._options.device
        figures: dict[str, Any] = {}
        for found, texts in self._captioned:
            images = measure.embed_pictures(averaged, found, side, device)
            figures[found.name] = measure.captioned(images, texts)["text_to_image"]
        for found, prompts, labels in self._labelled:
            images = measure.embed_pictures(averaged, found, side, device)
            figures[f"{found.name} classes"] = measure.zero_shot(images, prompts, labels)
        say(f"{training.learner.seen:,} samples: {figures}")
        name = self._options.checkpoint
        self._run.log("image", checkpoint=name, samples=training.learner.seen, side=side, held_out=figures)


def _pooled(run: Run, name: str) -> torch.Tensor:
    maps = teacher.load_maps(run, name)
    parts = (torch.tensor(maps[i : i + 1000]) for i in range(0, len(maps), 1000))
    return torch.cat([teacher.uncompressed(part).mean(dim=(1, 2)) for part in parts])


@dataclass(frozen=True)
class TextOptions:
    """What the stage `text` is asked for."""

    samples: int
    batch: int
    rate: float
    start: Path | None
    device: str


def train_text(run: Run, recipe: Recipe, options: TextOptions) -> None:
    """Train the text tower on the corpus; 2,000 of its texts are kept aside and measured."""
    texts = run.read_json("texts/corpus.json", made_by="prepare")
    tokens_of = torch.from_numpy(tokens.corpus_tokens(run, texts).astype(np.int64))
    sentences = np.load(run.path("texts/embeddings.npy", made_by="teacher"))
    joined = load_head(run)
    with torch.no_grad():
        goals = torch.cat([joined.text(torch.from_numpy(part).float()) for part in np.array_split(sentences, 64)])
    # The corpus is in random order, so that its end is as good a sample as any.
    aside = min(2000, len(texts) // 10)
    learnt = len(texts) - aside
    # The image tower of this network is not used.
    network = (
        student.build(student.configuration("regnety_002", 112))
        if options.start is None
        else student.load(options.start)[0]
    )
    training = text.TextTraining(text.TextStudent(network), options.samples, options.rate, options.device)
    learner = training.learner
    saved = run.load("text/tower.pt")
    if saved is not None:
        learner.restore(saved)

    def save() -> None:
        run.save("text/tower.pt", learner.state())

    journal = Journal(run, "text", "tower", options.samples, learner.seen, save)
    rows = text.batches((tokens_of[:learnt] != 0).sum(1), options.batch, seed=learner.seen)
    while learner.seen < options.samples:
        chosen = next(rows)
        journal(learner.seen, training.step(tokens_of[chosen], goals[chosen]))
    journal.close()
    averaged = learner.average.applied(training.student)
    with torch.inference_mode():
        guess = torch.cat([averaged(part.to(options.device)).cpu() for part in tokens_of[learnt:].split(500)])
    cosine = float((guess * goals[learnt:]).sum(-1).mean())
    run.log("text", samples=learner.seen, held_out_cosine=round(cosine, 4))
    say(f"cosine to the targets of {aside:,} texts not learnt from: {cosine:.4f}")

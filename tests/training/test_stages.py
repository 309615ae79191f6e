"""Every stage runs on a few generated pictures, goes on from its checkpoint, and ends in a model that loads."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from support import picture
from teachers import save_classifier, save_sentence_transformer
from typer.testing import CliRunner, Result

from indexer.describe.starter import load_starter_captioner
from search.errors import ModelError
from search.models.encoder import load_encoder
from training.__main__ import app
from training.recipe import RecipeError
from training.run import Run

SECRET = "A zebra on the moon ."
CAPTIONS = ("A red dog runs .", "Two blue cats sleep on the grass .", "A red dog and a blue cat .")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of labelled pictures, captioned pictures, one held-out set of each kind, and two small teachers."""
    folder = tmp_path_factory.mktemp("recipe")
    for number in range(16):
        for group in ("red dog", "blueCat"):
            (folder / "labelled" / group).mkdir(parents=True, exist_ok=True)
            picture(folder / "labelled" / group / f"{number}.jpg", number)
        for group in ("captioned", "held-out"):
            (folder / group).mkdir(exist_ok=True)
            picture(folder / group / f"{number}.jpg", number)
    (folder / "labelled" / "red dog" / "broken.jpg").write_bytes(b"no picture")
    with (folder / "captions.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "caption"])
        rows.writerows([f"{number}.jpg", caption] for number in range(16) for caption in CAPTIONS)
    sentences = [{"raw": text} for text in (*CAPTIONS, SECRET)]
    images = [{"filename": f"{n}.jpg", "split": "test", "sentences": sentences} for n in range(16)]
    (folder / "held-out.json").write_text(json.dumps({"images": images}))
    (folder / "texts.json").write_text(json.dumps({"annotations": [{"image_id": 1, "caption": "A green horse."}]}))
    save_classifier(folder / "teacher.tflite")
    save_sentence_transformer(folder / "sentences", [*CAPTIONS, "a green horse photo of the"])
    (folder / "recipe.toml").write_text("""
image_teacher = "teacher.tflite"
text_teacher = "sentences"
texts = [{ file = "texts.json" }]
[[photos]]
name = "captioned"
folder = "captioned"
side = 48
share = 3
captions = "captions.csv"
[[photos]]
name = "labelled"
folder = "labelled"
side = 32
share = 2
labels = "folder"
[[photos]]
name = "held-out"
folder = "held-out"
side = 48
captions = "held-out.json"
held_out = true
[[photos]]
name = "held-out-labelled"
folder = "labelled"
side = 32
labels = "folder"
held_out = true
""")
    return folder / "recipe.toml"


def stage(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def run(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run, as small as it can be."""
    run = tmp_path_factory.mktemp("run")
    both = ("--recipe", recipe, "--run", run)
    stage("prepare", *both, "--workers", 1)
    stage("teacher", *both, "--workers", 1, "--steps", 3)
    stage("image", *both, "--samples", 32, "--side", 48, "--batch", 16, "--measure-every", 16)
    stage("text", *both, "--samples", 64, "--batch", 32)
    stage("align", *both, "--steps", 2, "--side", 48)
    stage("caption", *both, "--samples", 64, "--batch", 16, "--side", 48, "--layers", 1, "--width", 32)
    stage("export", "--run", run, "--to", run / "model", "--side", 48)
    return run


def test_model_loads_through_open_clip_and_embeds_alike(run: Path, recipe: Path) -> None:
    name = f"local-dir:{run / 'model'}"
    network, _, transform = open_clip.create_model_and_transforms(name)
    image = Image.open(recipe.parent / "captioned" / "3.jpg")
    with torch.inference_mode():
        own = network.eval().encode_image(transform(image)[None], normalize=True)[0].numpy()
        text = network.encode_text(open_clip.get_tokenizer(name)(["a red dog"]), normalize=True)[0].numpy()
    encoder = load_encoder(name, device="cpu", precision="fp32")
    assert own @ encoder.embed_images(encoder.preprocess(image)[None])[0] > 0.99
    assert text @ encoder.embed_texts(["a red dog"])[0] > 0.999


def test_captioner_loads_and_writes_words_of_the_captions(run: Path, recipe: Path) -> None:
    captioner = load_starter_captioner(folder=run / "model", device="cpu")
    captions = captioner.caption([Image.open(recipe.parent / "captioned" / f"{n}.jpg") for n in range(3)])
    known = {word for text in CAPTIONS for word in text.lower().split()}
    assert len(captions) == 3
    assert all(set(caption.text.lower().split()) <= known and caption.confidence < 0 for caption in captions)


def test_captioner_that_is_missing_damaged_or_anothers_says_so(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(run / "model", folder)
    config = json.loads((folder / "captioner.json").read_text())
    (folder / "captioner.json").write_text(json.dumps({**config, "places": config["places"] + 1}))
    with pytest.raises(ModelError, match="cannot be loaded"):  # weights of another shape
        load_starter_captioner(folder=folder, device="cpu")
    (folder / "captioner.json").write_text(json.dumps(config))
    settings = json.loads((folder / "open_clip_config.json").read_text())
    settings["model_cfg"]["vision_cfg"]["image_size"] = 96
    (folder / "open_clip_config.json").write_text(json.dumps(settings))
    with pytest.raises(ModelError, match="does not fit the image tower"):
        load_starter_captioner(folder=folder, device="cpu")
    (folder / "captioner.safetensors").unlink()
    with pytest.raises(ModelError, match=r"no captioner\.safetensors"):
        load_starter_captioner(folder=folder, device="cpu")


def test_unreadable_picture_is_left_out(run: Path) -> None:
    counts = {line["set"]: line for line in Run(run).read_log("prepare") if "set" in line}
    assert counts["labelled"]["photos"] == 32 and counts["labelled"]["unreadable"] == 1


def test_image_training_goes_on_from_its_checkpoint(run: Path, recipe: Path) -> None:
    before = Run(run).load("image/tower.pt")
    assert before is not None and before["seen"] == 32
    stage("image", "--recipe", recipe, "--run", run, "--samples", 64, "--side", 48, "--batch", 16)
    after = Run(run).load("image/tower.pt")
    assert after is not None and after["seen"] == 64 and after["updates"] == 4
    name = "tower.head.proj.weight"
    assert not torch.equal(before["network"][name], after["network"][name])


def test_two_processes_share_the_batch(run: Path, recipe: Path) -> None:
    arguments = ("--samples", 32, "--side", 48, "--batch", 16, "--processes", 2, "--checkpoint", "pair")
    (run / "image" / "pair.rendezvous").write_text("left by a run that was killed")
    stage("image", "--recipe", recipe, "--run", run, *arguments)
    saved = Run(run).load("image/pair.pt")
    assert saved is not None and saved["seen"] == 32 and saved["updates"] == 2


def test_held_out_pictures_are_measured_and_never_learnt(run: Path) -> None:
    measured = [line for line in Run(run).read_log("image") if "held_out" in line]
    assert {"held-out", "held-out-labelled classes"} <= set(measured[-1]["held_out"])
    texts = json.loads((run / "texts" / "corpus.json").read_text())
    assert "a green horse" in texts and "two blue cats sleep on the grass" in texts
    assert not any("zebra on" in text for text in texts)


def test_score_reports_retrieval_captions_and_accuracy(run: Path, recipe: Path) -> None:
    files = ("--captions", recipe.parent / "held-out.json", "--images", recipe.parent / "held-out")
    result = stage("score", "--recipe", recipe, "--run", run, "--model", run / "model", *files)
    figures = json.loads(result.stdout)
    assert figures["retrieval"]["text_to_image"]["mean_rank"] >= 1
    assert figures["held-out-labelled"]["photos"] == 32  # without the one that cannot be read
    # Of two classes; and the same pictures stand in both, so that half of the answers are right.
    assert figures["held-out-labelled"]["top1"] == 50.0 and figures["held-out-labelled"]["top5"] == 100.0
    with pytest.raises(RecipeError, match="go together"):
        stage("score", "--recipe", recipe, "--run", run, "--model", run / "model", *files[:2])
    # Captions that differ in nothing but the words of the training captions share some with the photos' own.
    assert figures["captions"]["bleu"][0] > 0 and figures["captions"]["distinct"] >= 1


def test_curves_are_drawn(run: Path) -> None:
    stage("curves", "--run", run, "--to", run / "curves.png")
    drawn = np.asarray(Image.open(run / "curves.png").convert("RGB")).reshape(-1, 3)
    assert {(31, 119, 180), (255, 127, 14)} <= {tuple(colour) for colour in drawn.tolist()}  # the first two lines


def test_stage_before_its_time_names_the_one_that_is_missing(recipe: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["align", "--recipe", str(recipe), "--run", str(tmp_path)])
    assert "run the stage `image` first" in str(result.exception)


def test_captioner_of_another_state_of_the_tower_is_not_exported(run: Path, recipe: Path) -> None:
    both = ("--recipe", recipe, "--run", run)
    with pytest.raises(RecipeError, match="pictures of 48 px"):
        stage("export", "--run", run, "--to", run / "other", "--side", 64)
    stage("align", *both, "--steps", 1, "--side", 48, "--checkpoint", "pair")
    with pytest.raises(RecipeError, match="another state of the image tower"):
        stage("export", "--run", run, "--to", run / "other", "--side", 48)


def test_second_prepare_drops_what_belonged_to_another_corpus(run: Path, recipe: Path, tmp_path: Path) -> None:
    stage("prepare", "--recipe", recipe, "--run", run, "--workers", 1)
    assert (run / "texts" / "embeddings.npy").exists()
    (recipe.parent / "texts.json").write_text(json.dumps({"annotations": [{"image_id": 1, "caption": "A tree."}]}))
    stage("prepare", "--recipe", recipe, "--run", run, "--workers", 1)
    assert not (run / "texts" / "embeddings.npy").exists() and not (run / "texts" / "tokens.npy").exists()

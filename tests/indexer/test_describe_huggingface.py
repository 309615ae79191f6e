"""BLIP, BLIP-2 and ViT-GPT2 write captions through transformers' own loaders, from a folder, the cache and a hub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from captioner_checkpoints import save_blip, save_blip2, save_vit_gpt2
from support import photos

from indexer.describe.choice import load_captioner
from indexer.describe.huggingface import HuggingFaceCaptioner
from search.errors import ModelError

SAVERS: dict[str, Callable[[Path], Path]] = {"blip": save_blip, "blip2": save_blip2, "vit-gpt2": save_vit_gpt2}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {family: save(tmp_path_factory.mktemp(family)) for family, save in SAVERS.items()}


def load(family: str, folder: Path, precision: str = "fp32") -> HuggingFaceCaptioner:
    captioner = load_captioner(f"{family}:{folder}", device="cpu", precision=precision)
    assert isinstance(captioner, HuggingFaceCaptioner)
    return captioner


@pytest.mark.parametrize("family", SAVERS)
def test_a_batch_gets_one_caption_each_and_the_same_again(family: str, folders: dict[str, Path]) -> None:
    captioner = load(family, folders[family])
    images = photos()[:3]  # of different sizes
    captions = captioner.caption(images)
    assert captioner.name == f"{family}:{folders[family]}"
    assert len(captions) == 3
    assert all(one.confidence is not None and one.confidence < 0 for one in captions)
    assert captioner.caption(images) == captions
    assert captioner.caption([]) == []
    assert load(family, folders[family], "bf16")._network.dtype == torch.bfloat16
    assert len(load(family, folders[family], "bf16").caption(images)) == 3


@pytest.mark.parametrize(("family", "end"), [("blip", "[SEP]"), ("blip2", "Ċ"), ("vit-gpt2", "<|endoftext|>")])
def test_the_confidence_is_the_mean_log_probability_up_to_the_end(
    family: str, end: str, folders: dict[str, Path]
) -> None:
    """Taught that the sentence ends at once, each writes nothing and is sure of it."""
    captioner = load(family, folders[family])
    network = captioner._network
    head = {
        "blip": lambda: network.text_decoder.cls.predictions.decoder,
        "blip2": lambda: network.language_model.lm_head,
        "vit-gpt2": lambda: network.decoder.lm_head,
    }[family]()
    number = captioner._tokenizer.convert_tokens_to_ids(end)
    head.register_forward_hook(lambda module, given, logits: logits.index_fill(-1, torch.tensor([number]), 1e4))
    caption = captioner.caption(photos()[:1])[0]
    assert caption.text == "" and caption.confidence == pytest.approx(0.0, abs=1e-4)


def test_a_checkpoint_of_another_family(folders: dict[str, Path]) -> None:
    with pytest.raises(ModelError, match="is no blip2: it calls itself blip"):
        load_captioner(f"blip2:{folders['blip']}", device="cpu")


@pytest.mark.parametrize("lost", ["config.json", "preprocessor_config.json", "tokenizer.json", "model.safetensors"])
def test_a_folder_that_is_not_whole(lost: str, tmp_path: Path) -> None:
    (save_blip(tmp_path) / lost).unlink()
    with pytest.raises(ModelError, match=f"has no {lost}"):
        load_captioner(f"blip:{tmp_path}", device="cpu")


def test_damaged_files(tmp_path: Path) -> None:
    weights = save_blip(tmp_path) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_captioner(f"blip:{tmp_path}", device="cpu")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_captioner(f"blip:{tmp_path}", device="cpu")


def test_weights_in_parts_of_which_one_is_missing(tmp_path: Path) -> None:
    whole = save_blip(tmp_path) / "model.safetensors"
    index = {"weight_map": {"one": "model-00001-of-00002.safetensors", "two": "model-00002-of-00002.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    whole.rename(tmp_path / "model-00001-of-00002.safetensors")
    with pytest.raises(ModelError, match=r"has no model-00002-of-00002\.safetensors"):
        load_captioner(f"blip:{tmp_path}", device="cpu")


class Hub(ThreadingHTTPServer):
    """As much of a Hugging Face hub as a download asks for: one repository, and a note of what was fetched."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.files = {path.name: path.read_bytes() for path in folder.iterdir()}
        self.files |= {"pytorch_model.bin": b"not needed", "tf_model.h5": b"not needed", "onnx/model.bin": b"neither"}
        self.fetched: set[str] = set()


class HubHandler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, with_body: bool) -> None:
        sha = "0" * 40
        _, _, name = self.path.partition(f"/resolve/{sha}/")
        if self.path.startswith(f"/api/models/someone/tiny/tree/{sha}"):
            entries = [
                {"type": "file", "path": file, "size": len(content), "oid": file}
                for file, content in self.server.files.items()
            ]
            body = json.dumps(entries).encode()
        elif self.path.startswith("/api/models/someone/tiny"):
            siblings = [{"rfilename": file} for file in self.server.files]
            body = json.dumps({"id": "someone/tiny", "sha": sha, "siblings": siblings}).encode()
        elif name in self.server.files:
            body = self.server.files[name]
            if with_body:
                self.server.fetched.add(name)
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("ETag", f'"{name}"')
        self.send_header("X-Repo-Commit", sha)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


DOWNLOAD = """
from PIL import Image
from indexer.describe.choice import load_captioner
from search.errors import ModelError
from search.models import hub
hub.hub_answers = lambda: True  # it does; a busy machine may take longer to see it than a user should wait
for name, allowed in (("blip:someone/none", True), ("blip:someone/tiny", True), ("blip:someone/tiny", False)):
    try:
        captioner = load_captioner(name, device="cpu", allow_download=allowed)
        print(captioner.name, len(captioner.caption([Image.new("RGB", (9, 9))])))
    except ModelError as error:
        print(error)
"""


def test_a_download_fetches_what_is_needed_and_is_then_here(folders: dict[str, Path], tmp_path: Path) -> None:
    settings = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "TRANSFORMERS_"))}
    with Hub(folders["blip"]) as hub:
        thread = threading.Thread(target=hub.serve_forever)
        thread.start()
        settings |= {"HF_HOME": str(tmp_path), "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}"}
        done = subprocess.run(
            [sys.executable, "-c", DOWNLOAD], env=settings, capture_output=True, text=True, timeout=300
        )
        hub.shutdown()
        thread.join()
    lines = done.stdout.splitlines()
    assert lines[0].startswith("There is no repository someone/none"), done.stderr
    assert lines[1:] == ["blip:someone/tiny 1", "blip:someone/tiny 1"], done.stderr
    assert hub.fetched == {path.name for path in folders["blip"].iterdir()}

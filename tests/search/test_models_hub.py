"""Models that are not here, or not whole: one sentence, soon, that says what to do."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support import TINY, save_checkpoint

from search.errors import ModelError
from search.models import hub
from search.models.device import choose_device, choose_precision
from search.models.encoder import load_encoder

UNREACHABLE = "http://127.0.0.1:9"


def in_a_fresh_process(tmp_path: Path, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `code` with an empty cache: huggingface_hub reads its settings once, when it is imported."""
    settings = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "TRANSFORMERS_"))}
    settings |= {"HF_HOME": str(tmp_path / "cache"), "HF_ENDPOINT": UNREACHABLE, **environment}
    return subprocess.run([sys.executable, "-c", code], env=settings, capture_output=True, text=True, timeout=60)


LOAD = """
import sys, time
from search.errors import ModelError
from search.models.encoder import load_encoder
start = time.monotonic()
try:
    load_encoder({name!r}, allow_download={allowed})
except ModelError as error:
    print(error, file=sys.stderr)
    print(time.monotonic() - start, 'torch' in sys.modules)
"""


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("fast", False),
        ("fast", True),
        ("hf-hub:timm/PE-Core-T-16-384", False),
        ("hf-hub:timm/PE-Core-T-16-384", True),
        ("ViT-B-32/openai", False),
    ],
)
def test_weights_that_are_not_here_and_no_hub(tmp_path: Path, name: str, allowed: bool) -> None:
    done = in_a_fresh_process(tmp_path, LOAD.format(name=name, allowed=allowed))
    assert done.returncode == 0, done.stderr
    seconds, torch_imported = done.stdout.split()
    if name != "ViT-B-32/openai":  # whose place only open_clip knows
        assert torch_imported == "False"
        assert float(seconds) < (10 if allowed else 1)
    message = done.stderr.strip()
    assert message.count("\n") == 0
    assert ("does not answer" in message) == allowed
    for way_out in (f"sightline index --model {name}", "--model starter", "local-dir:"):
        assert way_out in message


def test_auto_is_the_starter_when_nothing_answers_and_says_so(tmp_path: Path) -> None:
    code = (
        "from search.models.hub import choose_auto\n"
        "model, why = choose_auto(download=True); print(model.name, '|', why)"
    )
    done = in_a_fresh_process(tmp_path, code)
    assert done.stdout.startswith("starter | Using the built-in model (starter): balanced ")


def test_auto_without_leave_to_download_is_the_starter_and_prints_nothing(tmp_path: Path) -> None:
    code = "from search.models.encoder import load_encoder; assert load_encoder('auto').name == 'starter'"
    done = in_a_fresh_process(tmp_path, code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_hub_that_accepts_but_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        start = time.monotonic()
        assert not hub.hub_answers(timeout=0.5)
        assert time.monotonic() - start < 2


def test_offline_is_honoured_without_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        assert not hub.hub_answers()
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize(
    ("status", "answers"), [("200 OK", True), ("307 Temporary Redirect", True), ("403 Forbidden", False)]
)
def test_a_proxy_that_refuses_is_no_hub(monkeypatch: pytest.MonkeyPatch, status: str, answers: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())

        thread = threading.Thread(target=answer)
        thread.start()
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        assert hub.hub_answers() is answers
        thread.join()


def test_a_model_in_the_hubs_cache_is_loaded_without_a_hub(tmp_path: Path) -> None:
    """The layout that huggingface_hub itself writes: refs/main names the snapshot."""
    repo = tmp_path / "cache" / "hub" / "models--someone--tiny"
    save_checkpoint(repo / "snapshots" / ("0" * 40))
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("0" * 40)
    code = """
from search.models.encoder import load_encoder
for allowed in (False, True):
    print(load_encoder("hf-hub:someone/tiny", device="cpu", allow_download=allowed).dim)
"""
    done = in_a_fresh_process(tmp_path, code)
    assert done.stdout == "32\n32\n", done.stderr


def test_unknown_weights_name_the_known_ones() -> None:
    with pytest.raises(ModelError, match="laion2b_s34b_b79k"):
        load_encoder("ViT-B-32/nothing")


def one_sentence(name: str) -> str:
    with pytest.raises(ModelError) as caught:
        load_encoder(name, device="cpu")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 800
    return str(caught.value)


def test_a_missing_folder(tmp_path: Path) -> None:
    assert "There is no folder" in one_sentence(f"local-dir:{tmp_path / 'none'}")


def test_a_folder_without_configuration_or_weights(tmp_path: Path) -> None:
    name = f"local-dir:{tmp_path}"
    assert "has no open_clip_config.json" in one_sentence(name)
    save_checkpoint(tmp_path)
    (tmp_path / "open_clip_model.safetensors").unlink()
    assert "has no weights" in one_sentence(name)


@pytest.mark.parametrize("keep", [0, 4, 1000, 100_000])
def test_truncated_weights(tmp_path: Path, keep: int) -> None:
    name = save_checkpoint(tmp_path)
    weights = tmp_path / "open_clip_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    assert "damaged" in one_sentence(name)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"model_cfg": []}', '{"model_cfg": {"embed_dim": 1}}'])
def test_a_damaged_configuration(tmp_path: Path, text: str) -> None:
    name = save_checkpoint(tmp_path)
    (tmp_path / "open_clip_config.json").write_text(text)
    assert "cannot be loaded" in one_sentence(name)


def test_a_configuration_of_another_model(tmp_path: Path) -> None:
    name = save_checkpoint(tmp_path)
    document = {"model_cfg": {**TINY, "embed_dim": 48}, "preprocess_cfg": {}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(document))
    assert "do not fit its configuration" in one_sentence(name)


def test_devices_and_precisions() -> None:
    import torch

    assert choose_device("cpu") == "cpu"
    assert choose_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_precision("auto", "cpu") in ("fp32", "bf16")
    assert choose_precision("bf16", "cpu") == "bf16"
    with pytest.raises(ModelError, match="fp16 needs a GPU"):
        choose_precision("fp16", "cpu")
    with pytest.raises(ModelError, match="use one of"):
        choose_precision("int8", "cpu")
    with pytest.raises(ModelError, match="use one of"):
        choose_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="--device cpu"):
            choose_device("cuda")

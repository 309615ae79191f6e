"""Sightline beside rclip and clip-retrieval: the same photos and architecture, whole commands, one machine.

    python -m benchmarks.peers PHOTOS [--environments FOLDER] [--count 1000] [--more 50 250] [--rounds 2]

The peers come from PyPI, each into an environment of its own in FOLDER, which is made where it is not there yet. All
three use ViT-B-32 at 256 pixels, which is what rclip offers, with the same random weights in the form that each reads;
speed does not depend on what they say. Each command is timed from its start to its end, Python's imports included:

- cold: every photo is new. rclip indexes when it is asked, so that Sightline's search is counted too.
- again: nothing has changed. clip-retrieval knows no such thing, and does everything again.
- 50 more: so many photos have come, for each number of --more.
- search: one text, in a process of its own. clip-retrieval has a server alone for that.

Sightline converts a model when it is first used; how long the very first run took is told apart.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from benchmarks.index import random_checkpoint
from indexer.suffixes import SUFFIXES

ARCHITECTURE = "ViT-B-32-256"
PACKAGES = {"rclip": ["rclip==3.3.0"], "clip-retrieval": ["clip-retrieval==2.45.0", "setuptools<81", "onnx"]}
_QUERY = "a dog runs on the beach"
_CLI = Path(__file__).parents[1] / "sightline.py"
# rclip's files, as it would have downloaded them. Run by clip-retrieval's environment, which has PyTorch and open_clip.
_EXPORT = """
import pathlib, shutil, sys, warnings
import open_clip, torch
warnings.simplefilter("ignore")
checkpoint, folder = map(pathlib.Path, sys.argv[1:])
model = open_clip.create_model("ViT-B-32-256", pretrained=str(checkpoint)).eval()
torch.backends.mha.set_fastpath_enabled(False)
class Tower(torch.nn.Module):
    def __init__(self, encode):
        super().__init__()
        self.model, self.encode = model, encode
    def forward(self, given):
        return getattr(self.model, self.encode)(given)
files = folder / "ViT-B-32-256-datacomp_s34b_b86k"
files.mkdir(parents=True)
for name, encode, example in (
    ("visual", "encode_image", torch.zeros(2, 3, 256, 256)),
    ("textual", "encode_text", open_clip.tokenize(["a dog", "a cat"])),
):
    torch.onnx.export(Tower(encode), (example,), str(files / f"{name}.onnx"), input_names=["input"],
        output_names=["output"], dynamic_axes={"input": {0: "n"}, "output": {0: "n"}}, dynamo=False, opset_version=17)
(folder / "tokenizer").mkdir()
shutil.copy(pathlib.Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz", folder / "tokenizer")
"""


def environment(folder: Path, peer: str) -> Path:
    """The folder with the commands of a peer's environment, which is made where it is not there yet."""
    place, ready = folder / peer, folder / peer / "ready"
    if not ready.exists():
        venv.create(place, with_pip=True, clear=True)
        subprocess.run([place / "bin/python", "-m", "pip", "install", "--quiet", *PACKAGES[peer]], check=True)
        ready.touch()
    return place / "bin"


def timed(command: list[str | Path], **options: str | Path) -> float:
    """Seconds that a command takes; what it says is kept for where it fails."""
    environment = {**os.environ, **{name: str(value) for name, value in options.items() if name != "cwd"}}
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, cwd=options.get("cwd"), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{done.stderr[-2000:]}")
    return time.perf_counter() - began


class Round:
    """One round: each peer over its own copy of the photos."""

    def __init__(self, scratch: Path, photos: list[Path], more: list[list[Path]]) -> None:
        self.scratch, self.photos, self.more = scratch, photos, more

    def measured(self, name: str, index: Callable[[Path, Path], float]) -> dict[str, float]:
        """Seconds of `index(photos, state)` when all is new, when nothing is, and each time that more photos are."""
        folder, state = self.scratch / name / "photos", self.scratch / name / "state"
        folder.mkdir(parents=True)
        for photo in self.photos:
            shutil.copy(photo, folder)
        found = {"cold": index(folder, state), "again": index(folder, state)}
        for some in self.more:
            for photo in some:
                shutil.copy(photo, folder)
            found[f"{len(some)} more"] = index(folder, state)
        return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--environments", type=Path, default=Path(tempfile.gettempdir()) / "sightline-peers")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--more", type=int, nargs="+", default=[50, 250], help="so many of --count come later")
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    files = sorted(file for file in arguments.photos.rglob("*") if file.suffix.lower() in SUFFIXES)
    files = files[: arguments.count]
    if len(set(arguments.more)) < len(arguments.more):
        parser.error("each number of --more is told apart by itself")
    if sum(arguments.more) >= len(files):
        raise SystemExit(f"There are {len(files)} photos, of which --more is to leave some.")
    rest = iter(files)
    photos = list(islice(rest, len(files) - sum(arguments.more)))
    more = [list(islice(rest, number)) for number in arguments.more]
    rclip, clip_retrieval = (environment(arguments.environments, peer) for peer in PACKAGES)
    with tempfile.TemporaryDirectory() as scratch:
        model = random_checkpoint(ARCHITECTURE, Path(scratch) / "checkpoint")
        weights = Path(scratch) / "checkpoint" / "open_clip_model.safetensors"
        for_rclip = Path(scratch) / "rclip"
        subprocess.run([clip_retrieval / "python", "-c", _EXPORT, weights, for_rclip], check=True)
        cache = Path(scratch) / "cache"

        def sightline(folder: Path, state: Path) -> float:
            given: list[str | Path] = [sys.executable, _CLI]
            home: list[str | Path] = ["--home", state]
            indexed = timed(
                [*given, "index", folder, "--model", model, "--captions", "off", *home], SIGHTLINE_CACHE=cache
            )
            return indexed + timed([*given, "search", _QUERY, *home], SIGHTLINE_CACHE=cache)

        def by_rclip(folder: Path, state: Path) -> float:
            if not state.exists():
                state.mkdir()
                for part in for_rclip.iterdir():
                    (state / part.name).symlink_to(part)
            return timed([rclip / "rclip", _QUERY], RCLIP_DATADIR=state, cwd=folder)

        def by_clip_retrieval(folder: Path, state: Path) -> float:
            shutil.rmtree(state, ignore_errors=True)
            workers = str(os.cpu_count() or 2)
            options = [
                "--enable_text",
                "False",
                "--use_jit",
                "False",
                "--batch_size",
                "32",
                "--num_prepro_workers",
                workers,
            ]
            chosen: list[str | Path] = ["--clip_model", f"open_clip:{ARCHITECTURE}/{weights}", *options]
            return timed(
                [clip_retrieval / "clip-retrieval", "inference", folder, state, *chosen], CUDA_VISIBLE_DEVICES=""
            )

        peers = {"sightline": sightline, "rclip": by_rclip, "clip-retrieval": by_clip_retrieval}
        first = Round(Path(scratch) / "first", photos[:8], []).measured("sightline", sightline)["cold"]
        print(f"{len(photos)} photos; Sightline's very first run, of 8 of them: {first:.1f} s")
        rounds = []
        for number in range(arguments.rounds):
            one = Round(Path(scratch) / str(number), photos, more)
            found = {name: one.measured(name, index) for name, index in peers.items()}
            state = {name: Path(scratch) / str(number) / name / "state" for name in peers}
            folder = Path(scratch) / str(number) / "rclip" / "photos"
            found["sightline"]["search"] = timed(
                [sys.executable, _CLI, "search", _QUERY, "--home", state["sightline"]], SIGHTLINE_CACHE=cache
            )
            found["rclip"]["search"] = timed(
                [rclip / "rclip", "--no-indexing", _QUERY], RCLIP_DATADIR=state["rclip"], cwd=folder
            )
            rounds.append(found)
            print(found, flush=True)
        print("command   " + "".join(f"{name + ', s':>20}" for name in peers) + "     ratio to Sightline's")
        for what in rounds[0]["sightline"]:
            medians = {
                name: statistics.median(one[name][what] for one in rounds) for name in peers if what in rounds[0][name]
            }
            ratios = [
                f"{name} {statistics.median(one[name][what] / one['sightline'][what] for one in rounds):.1f}"
                for name in medians
                if name != "sightline"
            ]
            print(
                f"{what:10}"
                + "".join(f"{medians.get(name, float('nan')):20.2f}" for name in peers)
                + "     "
                + ", ".join(ratios)
            )


if __name__ == "__main__":
    main()

"""The folder of one training run: where each stage keeps what it made, its checkpoints and its log."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch

from training.recipe import RecipeError


class Run:
    """A run's folder. What is saved is written under another name first: a crash leaves the last whole file."""

    def __init__(self, folder: Path) -> None:
        """Make the folder where it is missing."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, name: str, made_by: str | None = None) -> Path:
        """A file of the run. With `made_by` it must be there already, else the stage to run is named.

        Raises:
            RecipeError: the stage `made_by` has not been run.
        """
        path = self.folder / name
        if made_by is not None and not path.exists():
            raise RecipeError(f"{path} is not there: run the stage `{made_by}` first.")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def log(self, stage: str, **figures: Any) -> None:
        """Add one JSON line with the time to `log.jsonl`."""
        line = {"time": time.strftime("%Y-%m-%dT%H:%M:%S"), "stage": stage, **figures}
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def read_log(self, stage: str) -> list[dict[str, Any]]:
        """The lines of one stage, the oldest first."""
        file = self.folder / "log.jsonl"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return [entry for line in lines if (entry := json.loads(line))["stage"] == stage]

    def save(self, name: str, state: dict[str, Any]) -> None:
        """Save a checkpoint of torch."""
        self._write(name, lambda file: torch.save(state, file))

    def save_array(self, name: str, array: npt.NDArray[Any]) -> None:
        """Save an array as `.npy`."""
        self._write(name, lambda file: np.save(file, array))

    def save_json(self, name: str, document: Any) -> None:
        """Save a JSON document."""
        self._write(name, lambda file: file.write(json.dumps(document).encode()))

    def read_json(self, name: str, made_by: str) -> Any:
        """A JSON document that the stage `made_by` has saved."""
        return json.loads(self.path(name, made_by).read_text(encoding="utf-8"))

    def _write(self, name: str, write: Callable[[BinaryIO], object]) -> None:
        path = self.path(name)
        part = path.with_name(path.name + ".part")
        with part.open("wb") as file:
            write(file)
        part.replace(path)

    def load(self, name: str, made_by: str | None = None) -> dict[str, Any] | None:
        """A checkpoint; None where there is none and no stage is named that must have made it."""
        path = self.path(name, made_by)
        if not path.exists():
            return None
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return state

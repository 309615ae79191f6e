"""Models as OpenVINO runs them: converted once from PyTorch's, kept in the cache, and loaded without PyTorch.

A conversion belongs to the very files that it was made from: of a folder by names, sizes and dates, of the Hugging Face
cache by their contents' hashes. Whoever deletes one loses the seconds that the next one takes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
import threading
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from search.home import cache_dir
from search.models import openvino_runtime, tokens
from search.models.hub import files_of
from search.models.names import ModelName
from search.models.openvino_runtime import CompiledNetwork
from search.models.preprocess import Preprocess
from search.models.tokens import Tokenizer

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("sightline.models")
_IMAGES, _TEXTS = "images.xml", "texts.xml"
_FACTS = "facts"
"""A line of JSON, and its SHA-256."""
# To be raised when conversions are made in another way than before.
_REVISION = 1
_PROBES = ["a photo", "two dogs run along the beach at sunset", "x"]
_CLOSE = 0.9999


@dataclass(frozen=True)
class Facts:
    """What is to be known of a model besides its weights.

    Attributes:
        fingerprint: 16 hexadecimal digits that identify the weights.
        dim: length d of the embeddings.
        logit_scale, logit_bias: see `search.models.encoder.Encoder`.
        preprocess: open_clip's `visual.preprocess_cfg`.
    """

    fingerprint: str
    dim: int
    logit_scale: float
    logit_bias: float | None
    preprocess: dict[str, Any]


class UnusableError(Exception):
    """A conversion is damaged, or cannot be compiled here; of a damaged one nothing is left."""


class Converted:
    """The two towers of a converted model. Several threads may use them. Each is read, held against its checksum and
    compiled when it is first needed; what asks for it then raises UnusableError where that fails."""

    def __init__(
        self, folder: Path, facts: Facts, precision: str, streams: int, checksums: dict[str, str] | None = None
    ) -> None:
        """Towers that compute in `precision`, in so many streams side by side; `checksums` are those of the files."""
        self.facts = facts
        self._checksums = checksums or {}
        self._folder, self._precision, self._streams = folder, precision, streams
        self._compiled: dict[str, CompiledNetwork] = {}
        self._tokenizer: Tokenizer | None = None
        self._lock = threading.Lock()

    def embed_images(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """uint8 [n, height, width, 3], n at least 1, to float32 [n, d], L2-normalised."""
        return _unit(self._network(_IMAGES)(np.ascontiguousarray(batch)))

    def embed_texts(self, texts: list[str]) -> npt.NDArray[np.float32]:
        """Texts, one at least, to float32 [n, d], L2-normalised."""
        network = self._network(_TEXTS)
        with self._lock:
            if self._tokenizer is None:
                self._check("tokenizer")
                self._tokenizer = Tokenizer(self._folder)
        return _unit(network(self._tokenizer(texts)))

    def _network(self, name: str) -> CompiledNetwork:
        with self._lock:
            if name not in self._compiled:
                self._check(name.removesuffix(".xml"))
                try:
                    self._compiled[name] = CompiledNetwork(self._folder / name, self._precision, self._streams)
                except RuntimeError as error:
                    raise UnusableError(f"{self._folder / name} cannot be compiled here: {error}") from error
            return self._compiled[name]

    def _check(self, beginning: str) -> None:
        for name, checksum in self._checksums.items():
            if name.startswith(beginning) and _checksum(self._folder / name) != checksum:
                shutil.rmtree(self._folder, ignore_errors=True)
                raise UnusableError(f"{self._folder / name} is damaged")


def find(model: ModelName, precision: str, streams: int) -> Converted | None:
    """The conversion of the files of `model` as they are now, if there is one."""
    folder = _folder(model)
    if folder is None or not openvino_runtime.is_wanted():
        return None
    try:
        said, _, checksum = (folder / _FACTS).read_text(encoding="utf-8").rpartition("\n")
        if hashlib.sha256(said.encode()).hexdigest() != checksum:
            return None
        kept = json.loads(said)
        checksums = kept.pop("checksums")
        return Converted(folder, Facts(**kept), precision, streams, checksums)
    except (OSError, ValueError):
        return None


def make(model: ModelName, network: torch.nn.Module, tokenizer: Any, facts: Facts) -> bool:
    """Convert a model that open_clip has loaded, in fp32 on the CPU. Whether that was possible: what is converted
    embeds probes as the model itself does, else it is not kept.
    """
    folder = _folder(model)
    if folder is None or not openvino_runtime.is_wanted():
        return False
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".making-"))
    except OSError as error:
        logger.info("the model %s cannot be kept for a faster start: %s", model.name, error)
        return False
    try:
        write(network, tokenizer, facts, making)
        checksums = {file.name: _checksum(file) for file in making.iterdir()}
        said = json.dumps({**asdict(facts), "checksums": checksums})
        checksum = hashlib.sha256(said.encode()).hexdigest()
        (making / _FACTS).write_text(f"{said}\n{checksum}", encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        making.rename(folder)
    except Exception as error:  # whatever a third party's code makes of a network that it does not know
        logger.info("the model %s cannot be converted, and stays with PyTorch: %s", model.name, error)
        return False
    finally:
        shutil.rmtree(making, ignore_errors=True)
    _forget_former(folder)
    return True


def write(network: torch.nn.Module, tokenizer: Any, facts: Facts, folder: Path) -> None:
    """Write the towers and the tokenizer into `folder`.

    Raises:
        Exception: whatever PyTorch or OpenVINO make of a network that they cannot convert; ValueError where what they
            made of it is another one.
    """
    import torch

    example = tokenizer(_PROBES)
    preprocess = Preprocess.from_config(facts.preprocess)
    tokens.save(tokenizer, example.shape[1], folder)
    if not np.array_equal(Tokenizer(folder)(_PROBES), example.numpy()):
        raise ValueError("its tokenizer makes other tokens")
    pixels = torch.from_numpy(
        np.random.default_rng(0).integers(0, 256, (len(_PROBES), *preprocess.size, 3), dtype=np.uint8)
    )
    images, texts = _towers(network, preprocess)
    for tower, given, file in ((images, pixels, folder / _IMAGES), (texts, example, folder / _TEXTS)):
        with torch.no_grad():
            expected = tower(given).numpy()
            openvino_runtime.convert(tower, given[:2], file)
        found = CompiledNetwork(file, "fp32", 1)(given.numpy())
        if not (np.sum(_unit(found) * _unit(expected), axis=1) > _CLOSE).all():
            raise ValueError("it embeds otherwise than before")


def _towers(network: Any, preprocess: Preprocess) -> tuple[torch.nn.Module, torch.nn.Module]:
    """From pixels and from tokens to embeddings, as networks of their own."""
    import torch

    class Images(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network
            self.mean, self.std = (
                torch.nn.Buffer(torch.tensor(each).mul(255).view(1, 3, 1, 1))
                for each in (preprocess.mean, preprocess.std)
            )

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            normalised = (pixels.permute(0, 3, 1, 2).to(torch.float32) - self.mean) / self.std
            embeddings: torch.Tensor = self.network.encode_image(normalised, normalize=False)
            return embeddings

    class Texts(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            embeddings: torch.Tensor = self.network.encode_text(tokens, normalize=False)
            return embeddings

    return Images().eval(), Texts().eval()


def _folder(model: ModelName) -> Path | None:
    """Where the conversion of the model's files as they are now lies, or would; None where they are not here."""
    files = files_of(model)
    if files is None:
        return None
    parts = [str(_REVISION), version("open_clip_torch"), *files]
    key = hashlib.blake2b("\n".join(parts).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
    name = hashlib.blake2b(model.name.encode("utf-8", "surrogateescape"), digest_size=4).hexdigest()
    return cache_dir() / "models" / f"{name}-{key}"


def _checksum(file: Path) -> str | None:
    """SHA-256, which processors compute faster than disks read; None where the file cannot be read."""
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None


def _forget_former(folder: Path) -> None:
    """Delete what was converted from earlier files of the same model."""
    for other in folder.parent.glob(f"{folder.name.partition('-')[0]}-*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    result: npt.NDArray[np.float32] = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return result

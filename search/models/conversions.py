"""Models as OpenVINO runs them: converted once from PyTorch's, kept in the cache, and loaded without PyTorch.

A conversion belongs to the very files that it was made from (`search.models.hub.files_of`), and never changes: another
one has another name. Whoever deletes one loses the seconds that the next one takes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from search.home import cache_dir
from search.models import hub, openvino_runtime, tokens
from search.models.compiled import CompiledNetwork
from search.models.device import is_out_of_memory
from search.models.names import ModelName
from search.models.preprocess import Preprocess
from search.models.tokens import Tokenizer

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("sightline.models")
_MAKING = ".making-"
_FACTS = "facts"
"""A line of JSON, and its SHA-256."""
# To be raised when conversions are made in another way than before.
_REVISION = 2
_PROBES = [
    "a photo",
    "It's  A_Dog, RUNNING! &amp; 12",
    "",
    "été 北京 🎉",
    "two dogs run along the beach at sunset. " * 20,
]
_STALE_SECONDS = 86_400
_CLOSE = 0.9999


@dataclass(frozen=True)
class Facts:
    """What is to be known of a model besides its weights.

    Attributes:
        fingerprint: 16 hexadecimal digits that identify the weights.
        dim: length d of the embeddings.
        logit_scale, logit_bias: see `search.models.encoder.Encoder`.
        preprocess: open_clip's `visual.preprocess_cfg`.
        short_texts: whether a conversion takes texts that are not filled up (see `search.models.text_tower`).
    """

    fingerprint: str
    dim: int
    logit_scale: float
    logit_bias: float | None
    preprocess: dict[str, Any]
    short_texts: bool = False


class UnusableError(Exception):
    """A conversion is damaged, or cannot be used here; of a damaged one nothing is left."""


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
        self._images = _Once(lambda: self._compiled("images"))
        self._texts = _Once(lambda: self._compiled("texts"))
        self._tokenizer = _Once(self._read_tokenizer)

    def embed_images(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """uint8 [n, height, width, 3], n at least 1, to float32 [n, d], L2-normalised."""
        return _unit(self._images.get()(np.ascontiguousarray(batch)))

    def embed_texts(self, texts: list[str]) -> npt.NDArray[np.float32]:
        """Texts, one at least, to float32 [n, d], L2-normalised."""
        tokens = self._tokenizer.get()(texts, short=self.facts.short_texts)
        return _unit(self._texts.get()(tokens))

    def prepare_images(self, total: int, size: int) -> int:
        """Compile now what embeds photos. Returns 0: there is no GPU."""
        self._images.get()
        return 0

    def _compiled(self, tower: str) -> CompiledNetwork:
        self._check(f"{tower}.xml")
        file = self._folder / f"{tower}.xml"
        # Of large weights the checksum takes as long as compiling, which nothing is computed with before both are done.
        with ThreadPoolExecutor(1) as beside:
            checked = beside.submit(self._check, f"{tower}.bin")
            try:
                compiled = CompiledNetwork(file, self._precision, self._streams, self._folder / "compiled")
            except RuntimeError as error:
                checked.result()
                if is_out_of_memory(error):
                    raise
                raise UnusableError(f"{file} cannot be used here: {error}") from error
            checked.result()
        compiled.keep()
        return compiled

    def _read_tokenizer(self) -> Tokenizer:
        self._check("tokenizer")
        try:
            return Tokenizer(self._folder)
        except Exception as error:  # the library that reads it has no kind of its own
            raise UnusableError(f"the tokenizer in {self._folder} cannot be used here: {error}") from error

    def _check(self, beginning: str) -> None:
        for name, expected in self._checksums.items():
            file = self._folder / name
            if not name.startswith(beginning):
                continue
            try:
                damaged = _checksum(file) != expected
            except FileNotFoundError:
                damaged = True
            except OSError as error:
                raise UnusableError(f"{file} cannot be read: {error}") from error
            if damaged:
                shutil.rmtree(self._folder, ignore_errors=True)
                raise UnusableError(f"{file} is damaged")


Made = TypeVar("Made")


class _Once(Generic[Made]):
    """Something that is made when it is first asked for, by one thread; whoever asks meanwhile waits."""

    def __init__(self, make: Callable[[], Made]) -> None:
        self._make = make
        self._made: Made | None = None
        self._lock = threading.Lock()

    def get(self) -> Made:
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made


def find(model: ModelName, precision: str, streams: int) -> Converted | None:
    """The conversion of the files of `model` as they are now, if there is one."""
    files = hub.files_of(model) if openvino_runtime.is_wanted() else None
    for folder in sorted(_place().glob(f"{_beginning(model, files)}-*")) if files is not None else ():
        try:
            said, _, checksum = (folder / _FACTS).read_text(encoding="utf-8").rpartition("\n")
            if hashlib.sha256(said.encode()).hexdigest() != checksum:
                continue
            kept = json.loads(said)
            checksums = kept.pop("checksums")
            return Converted(folder, Facts(**kept), precision, streams, checksums)
        except (OSError, ValueError, TypeError, KeyError):
            continue
    return None


def make(model: ModelName, network: torch.nn.Module, tokenizer: Any, facts: Facts) -> bool:
    """Convert a model that open_clip has loaded, in fp32 on the CPU. Whether there is a conversion then: it is kept
    only if it embeds probes as the model itself does. One that cannot be converted is not tried again.
    """
    files = hub.files_of(model) if openvino_runtime.is_wanted() else None
    if files is None:
        return False
    beginning = _beginning(model, files)
    refused = _place() / f"{beginning}.refused"
    try:
        if refused.exists():
            return False
        _place().mkdir(parents=True, exist_ok=True)
        _forget_former(beginning)
        making = Path(tempfile.mkdtemp(dir=_place(), prefix=_MAKING))
    except OSError as error:
        logger.info("the model %s cannot be kept for a faster start: %s", model.name, error)
        return False
    try:
        facts = write(network, tokenizer, facts, making)
        checksums = {file.name: _checksum(file) for file in making.iterdir()}
        said = json.dumps({**asdict(facts), "checksums": checksums})
        checksum = hashlib.sha256(said.encode()).hexdigest()
        (making / _FACTS).write_text(f"{said}\n{checksum}", encoding="utf-8")
        making.chmod(0o755)  # a cache may be shared
        making.rename(_place() / f"{beginning}-{checksum[:8]}")
        return True
    except Exception as error:  # whatever a third party's code makes of a network that it does not know
        logger.info("the model %s cannot be converted, and stays with PyTorch: %s", model.name, error)
        if not isinstance(error, OSError) and not is_out_of_memory(error):
            with suppress(OSError):
                refused.write_text(f"{error}\n", encoding="utf-8")
        return False
    finally:
        shutil.rmtree(making, ignore_errors=True)


def write(network: torch.nn.Module, tokenizer: Any, facts: Facts, folder: Path) -> Facts:
    """Write the towers and the tokenizer into `folder`. Returns what is to be known of them.

    Raises:
        Exception: whatever PyTorch or OpenVINO make of a network that they cannot convert; ValueError where what they
            made of it is another one.
    """
    import torch

    from search.models.text_tower import ShortTextTower, TextTower, takes_short_texts

    full = tokenizer(_PROBES)
    tokens.save(tokenizer, full.shape[1], folder)
    written = Tokenizer(folder)
    if not np.array_equal(written(_PROBES), full.numpy()):
        raise ValueError("its tokenizer makes other tokens")
    few = torch.from_numpy(written(_PROBES[:-1], short=True))  # but for the one that fills the context
    short = few.shape != full[:-1].shape and takes_short_texts(network, full[:-1], few)
    preprocess = Preprocess.from_config(facts.preprocess)
    pixels = torch.from_numpy(
        np.random.default_rng(0).integers(0, 256, (len(_PROBES), *preprocess.size, 3), dtype=np.uint8)
    )
    images, texts = _image_tower(network, preprocess), TextTower(network).eval()
    file = folder / "images.xml"
    with torch.no_grad():
        expected = images(pixels).numpy()
        openvino_runtime.convert(images, pixels[:2], file)
    _check_alike(CompiledNetwork(file, "fp32", 1)(pixels.numpy()), expected)
    file = folder / "texts.xml"
    with torch.no_grad():
        expected = texts(full).numpy()
        tower, example = (ShortTextTower(network).eval(), few) if short else (texts, full[:2])
        openvino_runtime.convert(tower, example, file, any_length=short)
    converted = CompiledNetwork(file, "fp32", 1)
    _check_alike(converted(full.numpy()), expected)
    if short:
        _check_alike(np.concatenate([converted(written([text], short=True)) for text in _PROBES]), expected)
    return replace(facts, short_texts=short)


def _check_alike(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> None:
    if not (np.sum(_unit(found) * _unit(expected), axis=1) > _CLOSE).all():
        raise ValueError("it embeds otherwise than before")


def _image_tower(network: Any, preprocess: Preprocess) -> torch.nn.Module:
    """From pixels to embeddings, as a network of its own."""
    import torch

    class Images(torch.nn.Module):
        mean: torch.Tensor
        std: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.network = network
            for name, each in (("mean", preprocess.mean), ("std", preprocess.std)):
                self.register_buffer(name, torch.tensor(each).mul(255).view(1, 3, 1, 1))

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            normalised = (pixels.permute(0, 3, 1, 2).to(torch.float32) - self.mean) / self.std
            embeddings: torch.Tensor = self.network.encode_image(normalised, normalize=False)
            return embeddings

    return Images().eval()


def _place() -> Path:
    return cache_dir() / "models"


def _beginning(model: ModelName, files: list[str]) -> str:
    """How the names of conversions of these files begin: with a hash of the model's name, and one of all that they
    depend on."""
    parts = [str(_REVISION), *(version(name) for name in ("open_clip_torch", "openvino", "tokenizers")), *files]
    name, key = ("\n".join(each).encode("utf-8", "surrogateescape") for each in ([model.name], parts))
    return f"{hashlib.blake2b(name, digest_size=4).hexdigest()}-{hashlib.blake2b(key, digest_size=8).hexdigest()}"


def _checksum(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _forget_former(beginning: str) -> None:
    """Delete what was converted from earlier files of the same model, and what a run that was killed has left."""
    for other in _place().glob(f"{beginning.partition('-')[0]}-*"):
        if not other.name.startswith(beginning):
            _delete(other)
    for left in _place().glob(f"{_MAKING}*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _STALE_SECONDS:
                _delete(left)


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    result: npt.NDArray[np.float32] = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return result

"""The encoder: photos and texts to unit vectors of one space, by open_clip's models.

On a processor they run in OpenVINO, once they are converted (`search.models.conversions`), and PyTorch is not even
imported; on a GPU, and until then, in PyTorch (`search.models.network`).
"""

from __future__ import annotations

import hashlib
import logging
import threading
import warnings
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from search.errors import ModelError, SettingsError
from search.models import conversions, hub
from search.models.conversions import Facts
from search.models.dense import Places
from search.models.device import choose_device, choose_precision, is_out_of_memory
from search.models.names import AUTO, ModelName, resolve
from search.models.preprocess import Preprocess

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from PIL.Image import Image

    from search.models.network import Network

logger = logging.getLogger("sightline.models")
# Photos per forward pass. On a CPU a small batch stays in the caches; a GPU wants enough work at once.
_CHUNK = {"cpu": 64, "cuda": 256}
_TEXT_CHUNK = 256
# Elements of each tensor that enter the fingerprint: enough to tell any two trainings apart, cheap for large
# models.
_FINGERPRINT_SAMPLES = 4096

Given = TypeVar("Given")
Answer = TypeVar("Answer")
Batch = TypeVar("Batch", list[str], npt.NDArray[np.uint8])


class Towers(Protocol):
    """What embeds, in one runtime."""

    def embed_images(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """uint8 [n, height, width, 3], n at least 1, to float32 [n, d], L2-normalised."""
        ...

    def embed_texts(self, texts: list[str]) -> npt.NDArray[np.float32]:
        """Texts, one at least, to float32 [n, d], L2-normalised."""
        ...

    def prepare_images(self, total: int, size: int) -> int:
        """Do now what the first of about `total` photos, in batches of `size`, would have to wait for. Returns how many
        batches GPUs take side by side; 0 without one."""
        ...


class Encoder:
    """A loaded model. Make one with `load_encoder`; several threads may use it.

    Attributes:
        name: what an index records, as `search.models.names.ModelName.name`.
        fingerprint: 16 hexadecimal digits that identify the weights, whatever the device, runtime and precision.
        dim: length d of the embeddings.
        image_size: (height, width) in pixels.
        device, precision: what `"auto"` came to.
        runtime: `openvino` or `pytorch`.
        logit_scale: the learnt factor of the cosine, already exponentiated.
        logit_bias: SigLIP's learnt offset, else None; a pair's probability there is
            sigmoid(logit_scale * cosine + logit_bias).
        preprocess: makes the pixels that `embed_images` takes.
    """

    def __init__(
        self,
        model: ModelName,
        facts: Facts,
        towers: Towers,
        device: str,
        precision: str,
        network: Callable[[], Network],
    ) -> None:
        """`network` gives the model in PyTorch, where that is needed; it is asked once.

        Raises:
            ModelError: the model gives no finite numbers in this precision.
        """
        self.name = model.name
        self.fingerprint = facts.fingerprint
        self.dim = facts.dim
        self.device = device
        self.precision = precision
        self.runtime = "openvino" if isinstance(towers, conversions.Converted) else "pytorch"
        self.logit_scale = facts.logit_scale
        self.logit_bias = facts.logit_bias
        self.preprocess = Preprocess.from_config(facts.preprocess)
        self.image_size = self.preprocess.size
        self._towers = towers
        self._open_network = network
        self._network: Network | None = None
        self._lock = threading.Lock()
        self._gives_numbers = False
        # Of a conversion, which has embedded probes, no tower is read before it is needed.
        if self.runtime == "pytorch":
            self.embed_texts(["a photo"])

    def embed_images(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Embed photos that `preprocess` made, uint8 [n, height, width, 3]: float32 [n, d], L2-normalised.

        Raises:
            ModelError: the model gives no finite numbers in this precision.
            ValueError: `batch` has another shape or type.
        """
        if batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[1:] != (*self.image_size, 3):
            height, width = self.image_size
            raise ValueError(f"expected uint8 [n, {height}, {width}, 3], got {batch.dtype} {batch.shape}")
        return self._in_chunks(batch, _CHUNK[self.device], lambda towers, some: towers.embed_images(some))

    def embed_texts(self, texts: list[str]) -> npt.NDArray[np.float32]:
        """Embed `texts`, cut off at the model's context length: float32 [n, d], L2-normalised.

        Raises:
            ModelError: the model gives no finite numbers in this precision.
        """
        return self._in_chunks(texts, _TEXT_CHUNK, lambda towers, some: towers.embed_texts(some))

    def prepare_images(self, total: int, size: int) -> int:
        """Do now what the first of about `total` photos, in batches of `size`, would have to wait for. After this,
        `runtime` stays what it is.

        Returns:
            how many batches GPUs take side by side, from as many threads: it takes as many GPUs as the photos keep
            busy. 0 without one.

        Raises:
            RuntimeError: a GPU fails.
        """
        size = min(size, _CHUNK[self.device])
        return self._ask(lambda towers, _: towers.prepare_images(total, size), None)

    def places(self, image: Image) -> Places:
        """How much each place of an upright RGB picture speaks for texts.

        Where the tower takes pictures of any size, it gets a larger one than `image_size`, for a finer map.

        Raises:
            ModelError: the model's weights are not here any more, or are others.
        """
        return self._in_pytorch().places(image)

    def feature_maps(self, batch: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """The last feature maps float32 [n, rows, columns, channels] of photos, uint8 [n, height, width, 3], and their
        embeddings float32 [n, d], L2-normalised.

        Raises:
            ModelError: the model's image tower has no such map (see `search.models.dense`); or as `places`.
        """
        return self._in_pytorch().feature_maps(batch, self.name)

    def _in_chunks(
        self, batch: Batch, size: int, embed: Callable[[Towers, Batch], npt.NDArray[np.float32]]
    ) -> npt.NDArray[np.float32]:
        parts = [self._ask(embed, batch[at : at + size]) for at in range(0, len(batch), size)]
        if not self._gives_numbers and parts:
            # The first answer shows whether weights and precision give numbers at all.
            if not np.isfinite(parts[0]).all():
                raise ModelError(
                    f"The model {self.name} gives no finite numbers in {self.precision}: try `--precision fp32`; "
                    "if that does not help, its weights are damaged."
                )
            self._gives_numbers = True
        return np.concatenate(parts) if parts else np.empty((0, self.dim), dtype=np.float32)

    def _ask(self, question: Callable[[Towers, Given], Answer], given: Given) -> Answer:
        try:
            return question(self._towers, given)
        except conversions.UnusableError as error:
            logger.warning("%s; the model %s goes on in PyTorch", error, self.name)
            self._towers, self.runtime = self._in_pytorch(), "pytorch"
            return question(self._towers, given)

    def _in_pytorch(self) -> Network:
        with self._lock:
            if self._network is None:
                self._network = self._open_network()
            return self._network


def load_encoder(
    name: str,
    *,
    device: str = "auto",
    precision: str = "auto",
    allow_download: bool = False,
    convert: bool = False,
    streams: int = 1,
) -> Encoder:
    """Load the model that `name` means (see `search.models.names.resolve`; `"auto"` as `hub.choose_auto`).

    Without `allow_download` no connection is opened, and weights that are not on this machine are an error
    at once; with it, they are downloaded if the hub answers within 3 s. Weights that are on this machine are
    loaded without asking the hub.

    Where `convert` is set and the model is not converted for processors yet, it is, which takes seconds once. On a
    processor, up to `streams` batches are computed side by side, each with its part of the cores.

    Raises:
        ModelError: what is wrong with the name, the weights, the device or the precision.
    """
    model = hub.choose_auto(download=allow_download)[0] if name == AUTO else resolve(name)
    here = _check_on_this_machine(model, allow_download)
    device = choose_device(device)
    precision = choose_precision(precision, device)

    def in_pytorch(expected: str) -> Network:
        with _explained(model, True, device):
            facts, network, tokenizer = _open(model)
            if facts.fingerprint != expected:
                raise ModelError(f"The weights of {model.name} were replaced while it was in use; start again.")
            return _network(network, tokenizer, device, precision)

    with _explained(model, here, device):
        found = conversions.find(model, precision, streams) if here and device == "cpu" else None
        if found is None:
            facts, network, tokenizer = _open(model)
            if convert and device == "cpu" and conversions.make(model, network, tokenizer, facts):
                found = conversions.find(model, precision, streams)
            if found is None:
                towers = _network(network, tokenizer, device, precision)
                return Encoder(model, facts, towers, device, precision, lambda: towers)
            del network
        facts = found.facts
        return Encoder(model, facts, found, device, precision, lambda: in_pytorch(facts.fingerprint))


def fingerprint(network: torch.nn.Module) -> str:
    """Identify a model's weights by 16 hexadecimal digits.

    They come from the names, shapes and values (up to 4,096 of each tensor) of the state as it was loaded.
    """
    import torch

    digest = hashlib.blake2b(digest_size=8)
    for name, tensor in sorted(network.state_dict().items()):
        if not tensor.is_floating_point():
            continue  # counters and position numbers, which come and go with library versions
        flat = tensor.detach().reshape(-1)
        step = max(1, -(-flat.numel() // _FINGERPRINT_SAMPLES))
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(flat[::step].to(device="cpu", dtype=torch.float32).numpy().astype("<f4").tobytes())
    return digest.hexdigest()


def _check_on_this_machine(model: ModelName, allow_download: bool) -> bool:
    """Whether the model is here; raises if it is not and cannot be fetched. Needs no torch yet."""
    if hub.is_cached(model):
        return True
    folder = model.folder
    if folder is not None:
        if not folder.is_dir():
            raise ModelError(
                f"There is no folder {folder}: name one that holds an open_clip checkpoint, or use `--model starter`."
            )
        lacks = "weights (*.safetensors)" if (folder / hub.CONFIG_FILE).is_file() else hub.CONFIG_FILE
        raise ModelError(
            f"The folder {folder} has no {lacks}: a local-dir: model needs {hub.CONFIG_FILE} and its weights "
            "side by side."
        )
    if not allow_download:
        raise ModelError(f"The model {model.name} is not on this machine. {hub.ways_out(model)}")
    if not hub.hub_answers():
        raise ModelError(
            f"The model {model.name} is not on this machine and the Hugging Face hub does not answer. "
            f"{hub.ways_out(model)}"
        )
    return False


@contextmanager
def _explained(model: ModelName, here: bool, device: str) -> Iterator[None]:
    """Within this block a model is loaded for a device, without asking the hub where it is `here`; what fails is a
    ModelError."""
    with ExitStack() as stack:
        stack.enter_context(quiet())
        if here:
            stack.enter_context(hub.offline())
        try:
            yield
        except (ModelError, SettingsError):
            raise
        # Whatever a damaged file or a wrong configuration makes of itself in a third party's code.
        except Exception as error:
            raise ModelError(_sentence(model, error, device)) from error


def _open(model: ModelName) -> tuple[Facts, torch.nn.Module, Any]:
    """What is to be known of the model, its network in fp32 on the CPU, and its tokenizer."""
    network, tokenizer = _of_open_clip(model)
    return facts_of(network, tokenizer), network, tokenizer


def facts_of(network: torch.nn.Module, tokenizer: Any) -> Facts:
    """What is to be known of a model that open_clip has loaded."""
    import torch

    loaded: Any = network.eval()
    bias = getattr(loaded, "logit_bias", None)
    with torch.inference_mode():
        dim = loaded.encode_text(tokenizer(["a photo"])).shape[1]
    return Facts(
        fingerprint(network),
        dim,
        float(loaded.logit_scale.detach().exp().mean()),
        None if bias is None else float(bias.detach().mean()),
        dict(loaded.visual.preprocess_cfg),
    )


def _network(network: torch.nn.Module, tokenizer: Any, device: str, precision: str) -> Network:
    from search.models.network import Network

    return Network(network, tokenizer, device, precision)


def _of_open_clip(model: ModelName) -> tuple[torch.nn.Module, Callable[[list[str]], torch.Tensor]]:
    import open_clip

    tag = open_clip.get_pretrained_cfg(model.open_clip_name, model.pretrained) if model.pretrained else {}
    network = open_clip.create_model(
        model.open_clip_name,
        pretrained=model.pretrained,
        # Some weights (OpenAI's) were trained with another activation than their architecture's name says;
        # open_clip only warns.
        force_quick_gelu=bool(tag.get("quick_gelu", False)),
        # Otherwise open_clip leaves a model without weights random, and says so in a log line.
        require_pretrained=True,
    )
    if isinstance(network, open_clip.CoCa):
        raise ModelError(f"{model.name} is a captioning model (CoCa): choose it with --captions, not with --model.")
    return network, open_clip.get_tokenizer(model.open_clip_name)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep open_clip's chatter away.

    It logs through the root logger's functions, which set up a handler of their own if there is none.
    """
    handler = logging.NullHandler()
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.removeHandler(handler)


def _sentence(model: ModelName, error: Exception, device: str) -> str:
    """What a failed load says to the user, in one line, with the first line of the cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if is_out_of_memory(error):
        return (
            f"The model {model.name} does not fit into the memory of the device {device}: "
            "use `--device cpu` or a smaller model."
        )
    if "state_dict" in lines[0]:
        detail = f"; first: {lines[1].rstrip('.')}" if len(lines) > 1 else ""
        return (
            f"The weights of {model.name} do not fit its configuration: "
            f"the two must come from the same model{detail[:300]}."
        )
    what = (
        "its files are damaged or of another kind"
        if model.folder
        else "its download is incomplete or its files are damaged"
    )
    return (
        f"The model {model.name} cannot be loaded; {what} ({lines[0][:300].rstrip('.')}). "
        "Replace them, or use `--model starter`."
    )

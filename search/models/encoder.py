"""The encoder: photos and texts to unit vectors of one space, through open_clip."""

from __future__ import annotations

import hashlib
import logging
import threading
import warnings
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from search.errors import ModelError
from search.models import dense, hub, occlusion
from search.models.dense import Places
from search.models.device import choose_device, choose_precision
from search.models.names import AUTO, ModelName, resolve
from search.models.preprocess import Preprocess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch
    from PIL.Image import Image

# Photos per forward pass. On a CPU a small batch stays in the caches; a GPU wants enough work at once.
_CHUNK = {"cpu": 64, "cuda": 256}
_TEXT_CHUNK = 256
# Elements of each tensor that enter the fingerprint: enough to tell any two trainings apart, cheap for large
# models.
_FINGERPRINT_SAMPLES = 4096
# How much larger a picture is for a map than for an embedding, where the tower takes any size.
_FINER = 1.6


class Encoder:
    """A loaded model. Make one with `load_encoder`; several threads may use it (they take turns).

    Attributes:
        name: what an index records, as `search.models.names.ModelName.name`.
        fingerprint: 16 hexadecimal digits that identify the weights, whatever the device and precision.
        dim: length d of the embeddings.
        image_size: (height, width) in pixels.
        device, precision: what `"auto"` came to.
        logit_scale: the learnt factor of the cosine, already exponentiated.
        logit_bias: SigLIP's learnt offset, else None; a pair's probability there is
            sigmoid(logit_scale * cosine + logit_bias).
        preprocess: makes the pixels that `embed_images` takes.
    """

    def __init__(self, model: ModelName, network: torch.nn.Module, tokenizer: Any, device: str, precision: str) -> None:
        """Takes over `network`, in fp32 on the CPU as open_clip has loaded it."""
        import torch

        loaded: Any = network.eval()
        self.name = model.name
        self.fingerprint = fingerprint(network)
        self.device = device
        self.precision = precision
        self.logit_scale = float(loaded.logit_scale.detach().exp().mean())
        bias = getattr(loaded, "logit_bias", None)
        self.logit_bias: float | None = None if bias is None else float(bias.detach().mean())
        self.preprocess = Preprocess.from_config(loaded.visual.preprocess_cfg)
        self.image_size = self.preprocess.size
        self._tokenizer = tokenizer
        self._lock = threading.Lock()
        self._dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        # Channels last is the order in which convolutions are fast on CPUs and in tensor cores.
        loaded.visual.to(memory_format=torch.channels_last)
        if self._dtype != torch.float32:
            _cast_weights(network, self._dtype)
        self._network: Any = network.to(device)
        self._mean = torch.tensor(self.preprocess.mean, device=device).mul_(255).view(1, 3, 1, 1)
        self._std = torch.tensor(self.preprocess.std, device=device).mul_(255).view(1, 3, 1, 1)
        # A first text shows the dimensions, and that weights and precision give numbers at all.
        probe = self._encode_texts(["a photo"])
        self.dim: int = probe.shape[1]
        if not np.isfinite(probe).all():
            raise ModelError(
                f"The model {self.name} gives no finite numbers in {precision}: try `--precision fp32`; "
                "if that does not help, its weights are damaged."
            )

    def embed_images(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Embed photos that `preprocess` made, uint8 [n, height, width, 3]: float32 [n, d], L2-normalised.

        Raises:
            ValueError: `batch` has another shape or type.
        """
        if batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[1:] != (*self.image_size, 3):
            height, width = self.image_size
            raise ValueError(f"expected uint8 [n, {height}, {width}, 3], got {batch.dtype} {batch.shape}")
        chunk = _CHUNK[self.device]
        return self._stack([self._encode_images(batch[i : i + chunk]) for i in range(0, len(batch), chunk)])

    def embed_texts(self, texts: list[str]) -> npt.NDArray[np.float32]:
        """Embed `texts`, cut off at the model's context length: float32 [n, d], L2-normalised."""
        chunks = range(0, len(texts), _TEXT_CHUNK)
        return self._stack([self._encode_texts(texts[i : i + _TEXT_CHUNK]) for i in chunks])

    def places(self, image: Image) -> Places:
        """How much each place of an upright RGB picture speaks for texts.

        Where the tower takes pictures of any size, it gets a larger one than `image_size`, for a finer map.
        """
        import torch

        visual = self._network.visual
        method = dense.method(visual)
        preprocess = self.preprocess
        if method == dense.FEATURE_MAP and dense.takes_any_size(visual):
            height, width = (round(_FINER * side / 32) * 32 for side in self.image_size)
            preprocess = replace(preprocess, size=(height, width))
        pixels = preprocess(image)
        vectors: npt.NDArray[np.float32]
        if method == dense.OCCLUSION:
            whole, *parts = self.embed_images(np.stack([pixels, *occlusion.covered(pixels, preprocess.mean)]))
            vectors = (whole - np.stack(parts)).reshape(occlusion.GRID, occlusion.GRID, -1)
        else:
            with torch.inference_mode(), self._autocast():
                vectors = dense.places(visual, self._normalised(pixels[None]))[0].numpy()
        return Places(method, vectors, preprocess.area(*image.size))

    def feature_maps(self, batch: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """The last feature maps float32 [n, rows, columns, channels] of photos, uint8 [n, height, width, 3], and their
        embeddings float32 [n, d], L2-normalised.

        Raises:
            ModelError: the model's image tower has no such map (see `search.models.dense`).
        """
        import torch

        with torch.inference_mode(), self._autocast():
            features, places = dense.feature_maps(self._network.visual, self._normalised(batch), self.name)
        return features.numpy(), dense.unit(places.mean(dim=(1, 2))).numpy()

    def _encode_images(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        import torch

        with torch.inference_mode(), self._autocast():
            return _unit(self._network.encode_image(self._normalised(pixels), normalize=False))

    def _normalised(self, pixels: npt.NDArray[np.uint8]) -> torch.Tensor:
        import torch

        # torch warns of arrays that cannot be written to, such as those in shared memory may be.
        pixels = np.require(pixels, requirements=["C", "W"])
        # [n, h, w, 3] seen as [n, 3, h, w] is channels last already; bytes travel to the device, floats are made there.
        batch = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2)
        return batch.to(torch.float32).sub_(self._mean).div_(self._std)

    def _encode_texts(self, texts: list[str]) -> npt.NDArray[np.float32]:
        import torch

        with self._lock:  # the tokenizers of transformers are not made for several threads
            tokens = self._tokenizer(texts)
        with torch.inference_mode(), self._autocast():
            tokens = tokens.to(self.device)
            return _unit(self._network.encode_text(tokens, normalize=False))

    def _autocast(self) -> AbstractContextManager[Any]:
        import torch

        if self._dtype == torch.float32:
            return nullcontext()
        # The cache would only hold copies of the few parameters that are still cast here.
        return torch.autocast(self.device, dtype=self._dtype, cache_enabled=False)

    def _stack(self, parts: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
        return np.concatenate(parts) if parts else np.empty((0, self.dim), dtype=np.float32)


def load_encoder(name: str, *, device: str = "auto", precision: str = "auto", allow_download: bool = False) -> Encoder:
    """Load the model that `name` means (see `search.models.names.resolve`; `"auto"` as `hub.choose_auto`).

    Without `allow_download` no connection is opened, and weights that are not on this machine are an error
    at once; with it, they are downloaded if the hub answers within 3 s. Weights that are on this machine are
    loaded without asking the hub.

    Raises:
        ModelError: what is wrong with the name, the weights, the device or the precision.
    """
    model = hub.choose_auto(download=allow_download)[0] if name == AUTO else resolve(name)
    here = _check_on_this_machine(model, allow_download)
    device = choose_device(device)
    precision = choose_precision(precision, device)
    with ExitStack() as stack:
        stack.enter_context(quiet())
        if here:
            stack.enter_context(hub.offline())
        try:
            network, tokenizer = _open(model)
            return Encoder(model, network, tokenizer, device, precision)
        except ModelError:
            raise
        # Whatever a damaged file or a wrong configuration makes of itself in a third party's code.
        except Exception as error:
            raise ModelError(_sentence(model, error, device)) from error


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


def _open(model: ModelName) -> tuple[torch.nn.Module, Callable[[list[str]], torch.Tensor]]:
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


def _cast_weights(network: torch.nn.Module, dtype: torch.dtype) -> None:
    """Cast the weights of matrix products and convolutions, once; norms and embeddings stay in fp32.

    Autocast alone would cast them anew for every batch, which costs a CPU more than the faster arithmetic
    saves (ViT-B-32: 10 photos/s, fp32 16, this 36 to 60).
    """
    import torch

    for module in network.modules():
        # By attribute too: open_clip's own attention holds its projection as nn.MultiheadAttention does.
        if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)) or hasattr(module, "in_proj_weight"):
            for parameter in module.parameters(recurse=False):
                if parameter.is_floating_point() and parameter.dim() > 0:
                    parameter.data = parameter.data.to(dtype)


def _unit(features: torch.Tensor) -> npt.NDArray[np.float32]:
    import torch

    result: npt.NDArray[np.float32] = torch.nn.functional.normalize(features.float(), dim=-1).cpu().numpy()
    return result


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
    if type(error).__name__ == "OutOfMemoryError":
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

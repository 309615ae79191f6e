"""A model's two towers in PyTorch, as open_clip has loaded them: on any device, and where more than an embedding is
asked of them."""

from __future__ import annotations

import logging
import queue
import threading
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from search.models import dense, gpu, occlusion
from search.models.dense import Places
from search.models.preprocess import Preprocess

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from search.models.image_tower import ImageTower

logger = logging.getLogger("sightline.models")
_RECORDING = 4
"""Full batches that each GPU must have before it, so that the second which recording takes is saved."""
# How much larger a picture is for a map than for an embedding, where the tower takes any size.
_FINER = 1.6


class Network:
    """The towers on one device, and where many photos are embedded the image tower on all GPUs. Several threads may use
    them.

    Attributes:
        device: what PyTorch calls the device, as `cpu` or `cuda:0`.
    """

    def __init__(self, network: torch.nn.Module, tokenizer: Any, device: str, precision: str) -> None:
        """Takes over `network`, in fp32 on the CPU as open_clip has loaded it; `device` is `cpu` or `cuda`."""
        import torch

        loaded: Any = network.eval()
        visible = gpu.visible_gpus() if device == "cuda" else []
        # Those like the first: a slower one would keep it waiting, and an older one may not compute the same.
        self._gpus = [one for one in visible if one.model == visible[0].model]
        self.device = self._gpus[0].place if self._gpus else "cpu"
        self.preprocess = Preprocess.from_config(loaded.visual.preprocess_cfg)
        self._tokenizer = tokenizer
        self._lock = threading.Lock()
        self._preparing = threading.Lock()
        self._dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        # Channels last is the order in which convolutions are fast on CPUs and in tensor cores.
        loaded.visual.to(memory_format=torch.channels_last)
        if self._dtype != torch.float32:
            _cast_weights(network, self._dtype)
        self._network: Any = network.to(self.device)
        self._mean = torch.tensor(self.preprocess.mean, device=self.device).mul_(255).view(1, 3, 1, 1)
        self._std = torch.tensor(self.preprocess.std, device=self.device).mul_(255).view(1, 3, 1, 1)
        self._towers: list[ImageTower] = []
        self._idle: queue.SimpleQueue[ImageTower] = queue.SimpleQueue()
        if self._gpus:
            from search.models.image_tower import ImageTower

            self._add(ImageTower(self._gpus[0], self._network.visual, self.preprocess, self._dtype))

    def embed_images(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """uint8 [n, height, width, 3], n at least 1, to float32 [n, d], L2-normalised; on a GPU that is idle."""
        import torch

        if self._towers:
            tower = self._idle.get()
            try:
                return tower.embed(batch)
            finally:
                self._idle.put(tower)
        with torch.inference_mode(), self._autocast():
            return _unit(self._network.encode_image(self._normalised(batch), normalize=False))

    def embed_texts(self, texts: list[str]) -> npt.NDArray[np.float32]:
        """Texts, one at least, to float32 [n, d], L2-normalised."""
        import torch

        with self._lock:  # the tokenizers of transformers are not made for several threads
            tokens = self._tokenizer(texts)
        with torch.inference_mode(), self._autocast():
            return _unit(self._network.encode_text(tokens.to(self.device), normalize=False))

    def prepare_images(self, total: int, size: int) -> int:
        """Have the image tower on as many GPUs as `total` photos in batches of `size` keep busy. Returns how many
        batches these take side by side; 0 without one."""
        if not self._towers:
            return 0
        from search.models.image_tower import AT_ONCE

        with self._preparing:
            return AT_ONCE * self._prepared(total, size)

    def _prepared(self, total: int, size: int) -> int:
        batches = -(-total // size)
        try:
            while len(self._towers) < min(len(self._gpus), batches):
                self._add(self._towers[0].copied_to(self._gpus[len(self._towers)], self.preprocess))
        except RuntimeError as error:
            left = ", ".join(one.place for one in self._gpus[len(self._towers) :])
            logger.warning("%s is left out: %s", left, str(error).partition("\n")[0])
            del self._gpus[len(self._towers) :]
        if total // size >= _RECORDING * len(self._towers):
            for tower in self._towers:
                tower.record(size)
        return len(self._towers)

    def _add(self, tower: ImageTower) -> None:
        from search.models.image_tower import AT_ONCE

        self._towers.append(tower)
        for _ in range(AT_ONCE):
            self._idle.put(tower)

    def places(self, image: Image) -> Places:
        """As `search.models.encoder.Encoder.places`."""
        import torch

        visual = self._network.visual
        method = dense.method(visual)
        preprocess = self.preprocess
        if method == dense.FEATURE_MAP and dense.takes_any_size(visual):
            height, width = (round(_FINER * side / 32) * 32 for side in preprocess.size)
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

    def feature_maps(
        self, batch: npt.NDArray[np.uint8], name: str
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """As `search.models.encoder.Encoder.feature_maps`, of a model that errors call `name`."""
        import torch

        with torch.inference_mode(), self._autocast():
            features, places = dense.feature_maps(self._network.visual, self._normalised(batch), name)
        return features.numpy(), dense.unit(places.mean(dim=(1, 2))).numpy()

    def _normalised(self, pixels: npt.NDArray[np.uint8]) -> torch.Tensor:
        import torch

        # torch warns of arrays that cannot be written to, such as those in shared memory may be.
        pixels = np.require(pixels, requirements=["C", "W"])
        # [n, h, w, 3] seen as [n, 3, h, w] is channels last already; bytes travel to the device, floats are made there.
        batch = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2)
        return batch.to(torch.float32).sub_(self._mean).div_(self._std)

    def _autocast(self) -> AbstractContextManager[Any]:
        import torch

        if self._dtype == torch.float32:
            return nullcontext()
        # The cache would only hold copies of the few parameters that are still cast here.
        return torch.autocast(self.device.partition(":")[0], dtype=self._dtype, cache_enabled=False)


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

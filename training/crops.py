"""Random crops of a batch of pictures, and the same crops of the teacher's maps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Crops:
    """One box for each picture of a batch: float32 [n], in fractions of the picture, and whether it is mirrored."""

    left: Tensor
    top: Tensor
    width: Tensor
    height: Tensor
    mirrored: Tensor

    def cut(self, maps: Tensor, side: int) -> Tensor:
        """The boxes of `maps`, float [n, c, h, w], resampled to [n, c, side, side] (bilinear), on their device."""
        theta = torch.zeros(len(maps), 2, 3)
        theta[:, 0, 0] = self.width * (1 - 2 * self.mirrored.float())
        theta[:, 1, 1] = self.height
        theta[:, 0, 2] = 2 * self.left + self.width - 1
        theta[:, 1, 2] = 2 * self.top + self.height - 1
        size = [len(maps), maps.shape[1], side, side]
        grid = functional.affine_grid(theta.to(maps.device), size, align_corners=False)
        return functional.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=False)


def random_crops(n: int, smallest: float, generator: torch.Generator) -> Crops:
    """Boxes with areas from `smallest` to 1 of the picture, aspects from 3:4 to 4:3, half of them mirrored."""
    area = smallest + (1 - smallest) * torch.rand(n, generator=generator)
    aspect = torch.exp((2 * torch.rand(n, generator=generator) - 1) * math.log(4 / 3))
    width = (area * aspect).sqrt().clamp(max=1)
    height = (area / aspect).sqrt().clamp(max=1)
    left = torch.rand(n, generator=generator) * (1 - width)
    top = torch.rand(n, generator=generator) * (1 - height)
    return Crops(left, top, width, height, torch.rand(n, generator=generator) < 0.5)


def whole(n: int) -> Crops:
    """Boxes that leave the pictures as they are."""
    zero, one = torch.zeros(n), torch.ones(n)
    return Crops(zero, zero, one, one, torch.zeros(n, dtype=torch.bool))


def jitter(pictures: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast and saturation of each picture, float [n, 3, h, w] in 0..1, by up to `strength`; one
    in ten loses its colours."""
    n = len(pictures)
    brightness, contrast, saturation = (1 + strength * (2 * torch.rand(3, n, 1, 1, 1, generator=generator) - 1)).to(
        pictures.device
    )
    saturation = torch.where(torch.rand(n, 1, 1, 1, generator=generator).to(pictures.device) < 0.1, 0.0, saturation)
    pictures = pictures * brightness
    grey = pictures.mean(dim=1, keepdim=True)
    pictures = grey + (pictures - grey) * saturation
    level = grey.mean(dim=(2, 3), keepdim=True)
    changed: Tensor = (level + (pictures - level) * contrast).clamp(0, 1)
    return changed

"""One bad photo fails alone, memory that runs out makes batches smaller, and what concerns all ends the stage."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from PIL import Image

from indexer.describe.captioner import Caption, CaptionError, CaptionerUnavailableError, caption_each


class Scripted:
    """Calls each photo by its width, after `trouble` has had a look at the batch."""

    name = "scripted"

    def __init__(self, trouble: Callable[[list[int]], None], batch_size: int = 8) -> None:
        self.batch_size = batch_size
        self.trouble = trouble
        self.batches: list[int] = []

    def caption(self, images: list[Image.Image]) -> list[Caption]:
        widths = [image.width for image in images]
        self.batches.append(len(widths))
        self.trouble(widths)
        return [Caption(f"Photo {width}" if width != 404 else "", -1.0) for width in widths]


def raised_for(width: int, error: Exception) -> Callable[[list[int]], None]:
    def trouble(widths: list[int]) -> None:
        if width in widths:
            raise error

    return trouble


def photos(*widths: int) -> list[Image.Image]:
    return [Image.new("RGB", (width, 1)) for width in widths]


def test_any_number_of_photos_goes_in_batches() -> None:
    captioner = Scripted(lambda widths: None, batch_size=8)
    found = caption_each(captioner, photos(*range(1, 20)))
    assert [one.text for one in found if isinstance(one, Caption)] == [f"Photo {width}" for width in range(1, 20)]
    assert captioner.batches == [8, 8, 3]
    assert caption_each(captioner, []) == []


@pytest.mark.parametrize("error", [ValueError("odd stride"), CaptionError("odd stride"), RuntimeError("odd stride")])
def test_a_photo_that_crashes_the_captioner_fails_alone(error: Exception) -> None:
    found = caption_each(Scripted(raised_for(3, error)), photos(1, 2, 3, 4, 5))
    assert [isinstance(one, CaptionError) for one in found] == [False, False, True, False, False]
    assert "odd stride" in str(found[2]) and found[2].__traceback__ is None  # type: ignore[union-attr]


def test_a_photo_about_which_nothing_is_written_fails_alone() -> None:
    found = caption_each(Scripted(lambda widths: None), photos(1, 404))
    assert str(found[1]) == "the captioner scripted wrote nothing about it"


def test_captions_that_are_too_few_are_no_captions() -> None:
    captioner = Scripted(lambda widths: None)
    captioner.caption = lambda images: []  # type: ignore[method-assign]
    found = caption_each(captioner, photos(1, 2))
    assert all(isinstance(one, CaptionError) for one in found)


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_a_full_memory_makes_this_batch_and_later_ones_smaller(error: Exception) -> None:
    def trouble(widths: list[int]) -> None:
        if len(widths) > 2:
            raise error

    captioner = Scripted(trouble, batch_size=8)
    found = caption_each(captioner, photos(*range(1, 15)))
    assert [one.text for one in found if isinstance(one, Caption)] == [f"Photo {width}" for width in range(1, 15)]
    assert captioner.batch_size == 2
    assert captioner.batches == [8, 4, 2, 2, 4, 2, 2, 2, 2, 2]


def test_a_device_that_cannot_hold_one_photo_ends_the_stage() -> None:
    captioner = Scripted(raised_for(1, torch.cuda.OutOfMemoryError("CUDA out of memory")))
    with pytest.raises(CaptionerUnavailableError, match="--device cpu"):
        caption_each(captioner, photos(1, 2))


def test_a_picture_that_fills_the_memory_fails_alone() -> None:
    found = caption_each(Scripted(raised_for(2, MemoryError())), photos(1, 2, 3))
    assert [isinstance(one, CaptionError) for one in found] == [False, True, False]


@pytest.mark.parametrize(
    "error", [CaptionerUnavailableError("down"), RuntimeError("CUDA error: device-side assert triggered")]
)
def test_what_concerns_all_photos_ends_the_stage_at_once(error: Exception) -> None:
    captioner = Scripted(raised_for(1, error))
    with pytest.raises(CaptionerUnavailableError):
        caption_each(captioner, photos(1, 2, 3, 4))
    assert len(captioner.batches) <= 3


def test_an_interrupt_is_no_bad_photo() -> None:
    def trouble(widths: list[int]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        caption_each(Scripted(trouble), photos(1, 2))

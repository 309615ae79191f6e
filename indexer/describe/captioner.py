"""What every captioner can do, whatever is behind it, and how one bad photo fails alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from PIL import Image

from search.errors import SightlineError
from search.models.device import free_memory, is_out_of_memory


@dataclass(frozen=True)
class Caption:
    """A sentence about a photo: its `text`, and `confidence`, the mean log probability of its tokens.

    The confidence is None where the captioner does not tell it.
    """

    text: str
    confidence: float | None = None


class CaptionError(SightlineError):
    """One photo gets no caption; the sentence says why, without its path."""


class CaptionerUnavailableError(SightlineError):
    """No photo can be captioned now: it is not the photos' fault, and the next run may go on where this one ended."""


Described = Caption | CaptionError | CaptionerUnavailableError | KeyboardInterrupt
"""What came of one photo; the last two end the stage, once what came of the others is kept."""


class Captioner(Protocol):
    """Writes captions for photos, many at a time.

    Attributes:
        name: what is stored with each caption, as `blip:Salesforce/blip-image-captioning-base`: two captioners that
            write differently have different names.
        batch_size: how many photos to look at together; `caption_each` lowers it when memory runs out.
        side: pixels; of a photo whose sides are both longer it sees no more than of one as small.
    """

    name: str
    batch_size: int
    side: int

    def caption(self, images: list[Image.Image]) -> Sequence[Described]:
        """One caption for each photo (RGB), in their order.

        A captioner that knows which photo it failed on puts a `CaptionError` in the caption's place; one that does not
        may raise anything. One that had to end puts that in the place of the photos that it has not described.

        Raises:
            CaptionerUnavailableError: no photo can be captioned now.
        """
        ...


def caption_each(captioner: Captioner, images: Sequence[Image.Image]) -> list[Described]:
    """One caption for each photo, or why it has none, in their order; any number of photos.

    They are handed on in batches. A batch that fails is tried again in halves, down to the one photo at fault; where a
    device runs out of memory, later batches stay as small. Where captioning has to end, the reason stands in the place
    of each photo that is left.

    Raises:
        CaptionerUnavailableError: not one photo can be captioned now.
    """
    found: list[Described] = []
    while len(found) < len(images) and ended(found) is None:
        found += _caption(captioner, list(images[len(found) : len(found) + captioner.batch_size]))
    end = ended(found)
    if end is None:
        return found
    if not any(isinstance(one, Caption | CaptionError) for one in found):
        raise end
    return found + [end] * (len(images) - len(found))


def ended(found: Sequence[object]) -> CaptionerUnavailableError | KeyboardInterrupt | None:
    """Why captioning ended among these photos, if it did."""
    return next((one for one in found if isinstance(one, CaptionerUnavailableError | KeyboardInterrupt)), None)


def first_line(error: BaseException) -> str:
    """The cause that a sentence may name: what an exception says first, or its kind where it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200].rstrip(".") if lines else type(error).__name__


def _caption(captioner: Captioner, images: list[Image.Image]) -> list[Described]:
    try:
        found = captioner.caption(images)
        if len(found) != len(images):
            raise ValueError(f"it wrote {len(found)} captions for {len(images)} photos")
        nothing = CaptionError(f"the captioner {captioner.name} wrote nothing about it")
        return [nothing if isinstance(one, Caption) and not one.text else one for one in found]
    except CaptionError as error:
        # Without its traceback, whose frames would hold the batch's tensors for as long as the error is kept.
        failure: CaptionError | CaptionerUnavailableError = error.with_traceback(None)
    except CaptionerUnavailableError as error:
        failure = error.with_traceback(None)
    except SightlineError:
        raise
    except Exception as error:  # whatever one photo makes of itself in a third party's code
        failure = _failure(captioner, error, len(images))
    if len(images) == 1 or isinstance(failure, CaptionerUnavailableError):
        return [failure] * len(images)
    # Outside the handler: until here the exception held on to the tensors of the batch that failed.
    free_memory()
    middle = len(images) // 2
    first = _caption(captioner, images[:middle])
    end = ended(first)
    return first + (_caption(captioner, images[middle:]) if end is None else [end] * (len(images) - middle))


def _failure(captioner: Captioner, error: Exception, photos: int) -> CaptionError | CaptionerUnavailableError:
    """What a crash means: for the photo it came from, or for all of them."""
    if is_out_of_memory(error):
        captioner.batch_size = max(1, min(captioner.batch_size, photos // 2))
        # Decoded pictures differ in size, but all are the same size on the device: where one does not fit, none does.
        if photos == 1 and not isinstance(error, MemoryError):
            return CaptionerUnavailableError(
                f"The captioner {captioner.name} does not fit into the memory of its device, even with one photo at a "
                "time: use `--device cpu` or a smaller captioner."
            )
    elif "CUDA error" in str(error):
        # Such an error is the process's last word with the GPU: everything after it fails too.
        return CaptionerUnavailableError(
            f"The GPU failed while the captioner {captioner.name} used it ({first_line(error)}): run the command "
            "again, or use `--device cpu`."
        )
    return CaptionError(f"the captioner {captioner.name} failed on it ({first_line(error)})")

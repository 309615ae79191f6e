"""Texts as the tokens of CLIP's vocabulary."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from torch import Tensor

from training.run import Run

LENGTH = 32


def tokenize(texts: list[str]) -> Tensor:
    """Tokens int64 [n, LENGTH] as open_clip makes them: start, text, end, zeros."""
    from open_clip.tokenizer import SimpleTokenizer

    tokens: Tensor = SimpleTokenizer(context_length=LENGTH)(texts)
    return tokens


def corpus_tokens(run: Run, texts: list[str]) -> npt.NDArray[np.uint16]:
    """The tokens of the whole corpus, uint16 [n, LENGTH]; made once and kept."""
    path = run.path("texts/tokens.npy")
    if not path.exists():
        run.save_array("texts/tokens.npy", tokenize(texts).numpy().astype(np.uint16))
    kept: npt.NDArray[np.uint16] = np.load(path)
    return kept

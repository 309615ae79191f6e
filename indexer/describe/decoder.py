"""A small decoder that writes a sentence about what an image tower sees: the network, and what it may write."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from indexer.describe.beams import Marks, beam_search

# The decoder's own numbers for the tokens that are no words; the words' numbers follow them.
PAD, START, END = 0, 1, 2
SPECIAL = 3


@dataclass(frozen=True)
class DecoderShape:
    """What a decoder is made of; saved beside its weights.

    `words` is the size of its vocabulary with the special tokens; `places` and `features` are those of the image
    tower's last feature map, `embedding` the length of its embeddings; `length` bounds a caption, in tokens.
    """

    words: int
    places: int
    features: int
    embedding: int
    width: int = 256
    layers: int = 3
    heads: int = 4
    length: int = 24

    def as_dict(self) -> dict[str, int]:
        """For saving."""
        return asdict(self)


class CaptionDecoder(nn.Module):
    """A transformer decoder (Vaswani et al. 2017) over the places of a feature map and the photo's embedding."""

    def __init__(self, shape: DecoderShape, dropout: float = 0.0) -> None:
        """With random weights."""
        super().__init__()
        self.shape = shape
        self.words = nn.Embedding(shape.words, shape.width, padding_idx=PAD)
        self.positions = nn.Parameter(0.02 * torch.randn(shape.length, shape.width))
        self.see_places = nn.Linear(shape.features, shape.width)
        self.place_positions = nn.Parameter(0.02 * torch.randn(shape.places, shape.width))
        self.see_whole = nn.Linear(shape.embedding, shape.width)
        self.memory_norm = nn.LayerNorm(shape.width)
        layer = nn.TransformerDecoderLayer(
            shape.width, shape.heads, 4 * shape.width, dropout, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerDecoder(layer, shape.layers, norm=nn.LayerNorm(shape.width))
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.words.weight, std=0.02)

    def memory(self, places: Tensor, embedding: Tensor) -> Tensor:
        """What the decoder looks at, [n, places + 1, width], from a feature map [n, places, features] and unit
        embeddings [n, d]."""
        seen = self.see_places(places) + self.place_positions
        whole = self.see_whole(embedding * embedding.shape[-1] ** 0.5)
        memory: Tensor = self.dropout(self.memory_norm(torch.cat([seen, whole[:, None]], dim=1)))
        return memory

    def forward(self, words: Tensor, memory: Tensor) -> Tensor:
        """Logits [n, length, words] of the word after each of `words` int64 [n, length]."""
        n = words.shape[1]
        states = self.dropout(self.words(words) * self.shape.width**0.5 + self.positions[:n])
        mask = torch.full((n, n), float("-inf"), device=words.device).triu(1)
        states = self.layers(states, memory, tgt_mask=mask, tgt_is_causal=True)
        logits: Tensor = states @ self.words.weight.T
        return logits


@torch.inference_mode()
def write(
    decoder: CaptionDecoder, memory: Tensor, beams: int = 3, length_penalty: float = 0.7
) -> list[tuple[list[int], float]]:
    """The likeliest sentence for each of `memory` [n, m, width], by beam search (greedy where `beams` is 1).

    Sentences are compared as `beam_search` does it. No two words in a row are written twice in one sentence.

    Returns:
        For each photo the words' numbers, without special tokens, and the mean log probability of a word.
    """
    repeated = memory.repeat_interleave(beams, dim=0)

    def next_logits(words: Tensor) -> Tensor:
        logits: Tensor = decoder(words, repeated)[:, -1].float()
        _forbid_repeats(logits, words)
        return logits

    return beam_search(
        next_logits,
        len(memory),
        Marks(PAD, START, END),
        beams=beams,
        length=decoder.shape.length,
        length_penalty=length_penalty,
        device=memory.device,
    )


def _forbid_repeats(logits: Tensor, words: Tensor) -> None:
    """Take away each word that would repeat two words that stand in the sentence already."""
    last = words[:, -1:]
    seen_before = words[:, 1:-1] == last  # where the last word stood before
    rows, columns = torch.nonzero(seen_before, as_tuple=True)
    logits[rows, words[rows, columns + 2]] = float("-inf")
    # A word twice in a row is no English either.
    logits.scatter_(1, last, float("-inf"))


def shape_from(saved: dict[str, Any]) -> DecoderShape:
    """The shape that `DecoderShape.as_dict` gave; further keys are left alone."""
    return DecoderShape(**{name: int(saved[name]) for name in DecoderShape.__dataclass_fields__})

"""A small decoder that writes a sentence about what an image tower sees: the network, and what it may write."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

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


class Steps:
    """The decoder word by word, for writing: what became of the words before is remembered, not computed again.

    `memory` [n, m, width] is looked at by `beams` sentences each, whose rows stand together.
    """

    def __init__(self, decoder: CaptionDecoder, memory: Tensor, beams: int) -> None:
        self._decoder, self._photos, self._beams = decoder, len(memory), beams
        self._layers: list[Any] = list(decoder.layers.layers)
        self._norm: Any = decoder.layers.norm
        self._seen = [self._keys_and_values(layer.multihead_attn, memory) for layer in self._layers]
        self._said: list[tuple[Tensor, Tensor]] = []

    def __call__(self, words: Tensor, rows: Tensor) -> Tensor:
        """What `CaptionDecoder.forward` gives for the last of `words` int64 [n * beams, length], each of which goes on
        one of the `rows` of the step before: float [n * beams, words]."""
        decoder, place = self._decoder, words.shape[1] - 1
        states = decoder.words(words[:, -1:]) * decoder.shape.width**0.5 + decoder.positions[place]
        said = []
        for i, layer in enumerate(self._layers):
            normed = layer.norm1(states)
            keys, values = self._keys_and_values(layer.self_attn, normed)
            if place:
                before = self._said[i]
                keys = torch.cat([before[0][rows], keys], dim=2)
                values = torch.cat([before[1][rows], values], dim=2)
            said.append((keys, values))
            states = states + self._attend(layer.self_attn, normed, keys, values)
            # All sentences of one photo look at the same places: they are as many queries of one attention.
            normed = layer.norm2(states).view(self._photos, self._beams, -1)
            states = states + self._attend(layer.multihead_attn, normed, *self._seen[i]).view(states.shape)
            states = states + layer.linear2(layer.activation(layer.linear1(layer.norm3(states))))
        self._said = said
        logits: Tensor = self._norm(states[:, 0]) @ decoder.words.weight.T
        return logits

    def _attend(self, attention: nn.MultiheadAttention, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        width = self._decoder.shape.width
        asked = self._split(linear(queries, attention.in_proj_weight[:width], attention.in_proj_bias[:width]))
        found: Tensor = scaled_dot_product_attention(asked, keys, values).transpose(1, 2).flatten(2)
        return linear(found, attention.out_proj.weight, attention.out_proj.bias)

    def _keys_and_values(self, attention: nn.MultiheadAttention, states: Tensor) -> tuple[Tensor, Tensor]:
        width = self._decoder.shape.width
        both = linear(states, attention.in_proj_weight[width:], attention.in_proj_bias[width:])
        return self._split(both[..., :width]), self._split(both[..., width:])

    def _split(self, states: Tensor) -> Tensor:
        """[n, m, width] as [n, heads, m, width / heads]."""
        heads: Tensor = states.unflatten(2, (self._decoder.shape.heads, -1)).transpose(1, 2)
        return heads


@torch.inference_mode()
def write(
    decoder: CaptionDecoder, memory: Tensor, beams: int = 3, length_penalty: float = 0.7
) -> list[tuple[list[int], float]]:
    """The likeliest sentence for each of `memory` [n, m, width], by beam search (greedy where `beams` is 1).

    Sentences are compared as `beam_search` does it. No two words in a row are written twice in one sentence.

    Returns:
        For each photo the words' numbers, without special tokens, and the mean log probability of a word.
    """
    steps = Steps(decoder, memory, beams)

    def next_logits(words: Tensor, rows: Tensor) -> Tensor:
        logits = steps(words, rows).float()
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

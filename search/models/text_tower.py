"""The text tower of one of open_clip's models, for tokens that are not filled up to the model's context.

Where attention only looks back, as in CLIP, what stands behind a text's last token changes nothing. A query has a dozen
tokens of a context of 77, so that most of the work is saved. Where it looks ahead, as in SigLIP, the filling is a part
of what the model has learned.
"""

from __future__ import annotations

from typing import Any

import torch


class TextTower(torch.nn.Module):
    """From tokens, int64 [n, length], to embeddings, float32 [n, d], with the weights of a network."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Embed them."""
        embeddings: torch.Tensor = self.network.encode_text(tokens, normalize=False)
        return embeddings


class ShortTextTower(TextTower):
    """The same, of tokens of any length up to the model's context."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Embed them."""
        length = tokens.shape[1]
        tower = self.network.text if hasattr(self.network, "text") else self.network
        # open_clip takes the positions and the mask of the whole context. Attributes of the instance hide those of the
        # module while it computes, and can be traced.
        whole = {"positional_embedding": tower.positional_embedding[:length]}
        if tower.attn_mask is not None:
            whole["attn_mask"] = tower.attn_mask[:length, :length]
        vars(tower).update(whole)
        try:
            return super().forward(tokens)
        finally:
            for name in whole:
                del vars(tower)[name]


def takes_short_texts(network: Any, full: torch.Tensor, short: torch.Tensor) -> bool:
    """Whether a network embeds the tokens of `short`, int64 [n, m], as it does those of `full`, int64 [n, length],
    which are the same ones filled up."""
    with torch.no_grad():
        try:
            found = ShortTextTower(network)(short)
        except Exception:  # a text tower of another make
            return False
        expected = TextTower(network)(full)
    return bool((torch.nn.functional.cosine_similarity(found, expected) > 1 - 1e-5).all())

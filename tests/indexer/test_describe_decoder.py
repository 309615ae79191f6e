"""The caption decoder writes what it has learnt, by greedy and by beam search, and does not stammer."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch.nn import functional

from indexer.describe.decoder import END, PAD, SPECIAL, START, CaptionDecoder, DecoderShape, Steps, shape_from, write

SHAPE = DecoderShape(words=20, places=4, features=8, embedding=6, width=32, layers=2, heads=2, length=10)
SENTENCES = [[5, 6, 7], [8, 9], [10, 5, 11, 5, 12], [9]]


def seen(decoder: CaptionDecoder, number: int) -> torch.Tensor:
    """What the decoder looks at for the photo of one sentence."""
    generator = torch.Generator().manual_seed(number)
    return decoder.memory(torch.randn(1, 4, 8, generator=generator), torch.randn(1, 6, generator=generator))


@pytest.fixture(scope="module")
def decoder() -> CaptionDecoder:
    """A decoder that has learnt one sentence for each of four photos by heart."""
    torch.manual_seed(0)
    made = CaptionDecoder(SHAPE)
    rows = torch.full((4, 7), PAD)
    for row, sentence in zip(rows, SENTENCES, strict=True):
        row[: len(sentence) + 2] = torch.tensor([START, *sentence, END])
    optimizer = torch.optim.Adam(made.parameters(), lr=3e-3)
    for _ in range(150):
        logits = made(rows[:, :-1], torch.cat([seen(made, number) for number in range(4)]))
        loss = functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), ignore_index=PAD)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return made.eval()


@pytest.mark.parametrize("beams", [1, 3])
def test_what_was_learnt_is_written_for_each_photo(decoder: CaptionDecoder, beams: int) -> None:
    memory = torch.cat([seen(decoder, number) for number in range(4)])
    assert [words for words, _ in write(decoder, memory, beams)] == SENTENCES
    assert [write(decoder, memory[i : i + 1], beams)[0][0] for i in range(4)] == SENTENCES


def test_confidence_is_the_mean_log_probability_of_words_and_end(decoder: CaptionDecoder) -> None:
    words, confidence = write(decoder, seen(decoder, 1), 3)[0]
    row = torch.tensor([[START, *words, END]])
    with torch.no_grad():
        logits = decoder(row[:, :-1], seen(decoder, 1))
    logits[..., [PAD, START]] = float("-inf")
    logits[0, 0, END] = float("-inf")
    for place, word in enumerate(row[0, :-1].tolist()):
        logits[0, place, word] = float("-inf")  # no word stands twice in a row
    steps = logits.log_softmax(-1)[0].gather(1, row[0, 1:, None])
    assert len(steps) == len(words) + 1 == 3
    assert confidence == pytest.approx(float(steps.mean()), abs=1e-5)


def test_untaught_decoder_neither_stammers_nor_overruns() -> None:
    torch.manual_seed(3)
    made = CaptionDecoder(SHAPE).eval()
    with torch.no_grad():
        made.words.weight.mul_(25)  # a decided mind
        memory = made.memory(torch.randn(20, 4, 8), torch.randn(20, 6))
    for words, confidence in write(made, memory, 3):
        pairs = list(pairwise(words))
        assert 0 < len(words) < SHAPE.length and min(words) >= SPECIAL and confidence < 0
        assert len(set(pairs)) == len(pairs) and all(one != other for one, other in pairs)


def test_shape_survives_saving() -> None:
    assert shape_from({**SHAPE.as_dict(), "vocabulary": [1, 2]}) == SHAPE


def test_word_by_word_is_as_all_at_once(decoder: CaptionDecoder) -> None:
    memory = torch.cat([seen(decoder, 0), seen(decoder, 2)])
    steps = Steps(decoder, memory, beams=3)
    words = torch.randint(SPECIAL, 20, (6, 1), generator=torch.Generator().manual_seed(1))
    rows = torch.arange(6)
    with torch.no_grad():
        for place in range(5):
            whole = decoder(words, memory.repeat_interleave(3, dim=0))[:, -1]
            assert torch.allclose(steps(words, rows), whole, atol=1e-5)
            rows = torch.tensor([1, 1, 0, 5, 3, 4])  # within a photo, beams change places
            words = torch.cat([words[rows], torch.full((6, 1), SPECIAL + place)], dim=1)

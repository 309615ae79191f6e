"""The caption decoder's search: what it finds is likely, ends, and does not stammer."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from indexer.describe.decoder import END, PAD, SPECIAL, START, CaptionDecoder, DecoderShape, write

SHAPE = DecoderShape(words=40, places=4, features=8, embedding=6, width=32, layers=2, heads=2, length=12)


@pytest.fixture
def decoder() -> CaptionDecoder:
    torch.manual_seed(3)
    made = CaptionDecoder(SHAPE).eval()
    with torch.no_grad():
        made.words.weight.mul_(25)  # a decided mind, so that beams differ
    return made


def memory(decoder: CaptionDecoder, n: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(n)
    with torch.no_grad():
        return decoder.memory(torch.randn(n, 4, 8, generator=generator), torch.randn(n, 6, generator=generator))


def mean_log_probability(decoder: CaptionDecoder, seen: torch.Tensor, words: list[int]) -> float:
    """Of a whole sentence and its end, free of the rules against repetition."""
    row = torch.tensor([[START, *words, END]])
    with torch.no_grad():
        steps = decoder(row[:, :-1], seen).log_softmax(-1)
    return float(steps[0].gather(1, row[0, 1:, None]).mean())


def test_sentences_hold_words_alone_and_end(decoder: CaptionDecoder) -> None:
    for beams in (1, 3):
        for words, mean in write(decoder, memory(decoder, 5), beams):
            assert 0 < len(words) < SHAPE.length and min(words) >= SPECIAL
            assert mean < 0


def test_no_pair_of_words_stands_twice(decoder: CaptionDecoder) -> None:
    for words, _ in write(decoder, memory(decoder, 20), 3):
        pairs = list(pairwise(words))
        assert len(set(pairs)) == len(pairs)
        assert all(one != other for one, other in pairs)


def test_photos_do_not_depend_on_their_neighbours(decoder: CaptionDecoder) -> None:
    seen = memory(decoder, 6)
    together = [words for words, _ in write(decoder, seen, 3)]
    assert together == [write(decoder, seen[i : i + 1], 3)[0][0] for i in range(6)]


def test_more_beams_find_no_worse_sentences(decoder: CaptionDecoder) -> None:
    seen = memory(decoder, 12)
    greedy, beam = (sum(mean for _, mean in write(decoder, seen, beams, length_penalty=1.0)) for beams in (1, 8))
    assert beam >= greedy


def test_greedy_takes_the_likeliest_first_word(decoder: CaptionDecoder) -> None:
    seen = memory(decoder, 3)
    with torch.no_grad():
        first = decoder(torch.full((3, 1), START), seen)[:, 0]
    first[:, [PAD, START, END]] = float("-inf")
    assert [words[0] for words, _ in write(decoder, seen, 1)] == first.argmax(-1).tolist()


def test_stated_likelihood_is_that_of_the_sentence(decoder: CaptionDecoder) -> None:
    seen = memory(decoder, 8)
    ended = [(i, words, mean) for i, (words, mean) in enumerate(write(decoder, seen, 3)) if len(words) < 8]
    for i, words, mean in ended:
        # The rules take some words away, which makes those that are left a little likelier.
        assert mean >= mean_log_probability(decoder, seen[i : i + 1], words) - 1e-3

"""Texts become the tokens that a model's own tokenizer makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import open_clip
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.models import tokens


@pytest.fixture(scope="module")
def clip_tokens(tmp_path_factory: pytest.TempPathFactory) -> tuple[tokens.Tokenizer, open_clip.SimpleTokenizer]:
    folder = tmp_path_factory.mktemp("tokens")
    original = open_clip.SimpleTokenizer(context_length=24)
    tokens.save(original, 24, folder)
    return tokens.Tokenizer(folder), original


@settings(max_examples=300, deadline=None)
@given(
    text=st.text(st.characters(max_codepoint=0x2FFF, exclude_categories=["Cn", "Cs", "Co"]), max_size=40)
    | st.sampled_from(
        [
            "It's  the DOG's",
            "<start_of_text> x <end_of_text>",
            "<START_OF_TEXT>",
            "&amp;lt; x",
            "l’été",
            "北京 🎉🎉",
            "a\u0345b",
        ]
    )
)
def test_clips_tokens_are_the_same(clip_tokens: tuple[tokens.Tokenizer, open_clip.SimpleTokenizer], text: str) -> None:
    ours, theirs = clip_tokens
    np.testing.assert_array_equal(ours([text]), theirs([text]).numpy())


@pytest.mark.parametrize("clean", ["whitespace", "lower", "canonicalize"])
@pytest.mark.parametrize("strip", [False, True])
@pytest.mark.parametrize("side", ["left", "right"])
def test_tokens_of_other_tokenizers_are_the_same(tmp_path: Path, clean: str, strip: bool, side: str) -> None:
    from open_clip.tokenizer import HFTokenizer
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.train_from_iterator(
        ["a dog_runs, Fast on the Beach!"] * 9,
        trainers.WordPieceTrainer(special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"], show_progress=False),
    )
    inner.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        padding_side=side,
    ).save_pretrained(tmp_path / "tokenizer")
    theirs = HFTokenizer(str(tmp_path / "tokenizer"), context_length=12, clean=clean, strip_sep_token=strip)
    (tmp_path / "kept").mkdir()
    tokens.save(theirs, 12, tmp_path / "kept")
    ours = tokens.Tokenizer(tmp_path / "kept")
    texts = ["A dog_runs,  fast!", "", "on the beach " * 20, "&amp; the_Beach"]
    np.testing.assert_array_equal(ours(texts), theirs(texts).numpy())


@pytest.mark.parametrize(
    "options", [{"reduction_mask": "random"}, {"additional_special_tokens": ["<end_of_mask>"]}], ids=str
)
def test_a_tokenizer_of_another_kind_is_refused(tmp_path: Path, options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="of another kind"):
        tokens.save(open_clip.SimpleTokenizer(**options), 77, tmp_path)


def test_texts_are_cleaned_as_the_tokenizer_has_it(tmp_path: Path) -> None:
    theirs = open_clip.SimpleTokenizer(clean="canonicalize")
    tokens.save(theirs, 77, tmp_path)
    texts = ["it's a_dog, RUNNING!"]
    np.testing.assert_array_equal(tokens.Tokenizer(tmp_path)(texts), theirs(texts).numpy())

"""Texts to tokens as open_clip's tokenizers make them, without the seconds that importing those takes."""

from __future__ import annotations

import html
import json
import math
import string
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_FILE, _SETTINGS = "tokenizer.json", "tokenizer_settings.json"
# Of few lengths: a runtime makes ready anew for each.
_STEP = 8


@dataclass(frozen=True)
class TokenizerSettings:
    """What stands around the tokens, and how texts are cleaned before.

    Attributes:
        clean: `lower`, `whitespace` or `canonicalize`, as open_clip names them.
        length: tokens of each text, filled up with `pad`.
        begin, end: tokens that are set around each text, where the tokenizer itself sets none.
        blank: a token that the model is given 0 for.
        from_left: whether what fills up stands before the tokens.
    """

    clean: str
    length: int
    pad: int
    begin: int | None = None
    end: int | None = None
    blank: int | None = None
    from_left: bool = False


class Tokenizer:
    """A tokenizer that `save` has written. Several threads may use it."""

    def __init__(self, folder: Path) -> None:
        """Read it.

        Raises:
            Exception: the files are not there, or damaged.
        """
        import tokenizers

        self._settings = TokenizerSettings(**json.loads((folder / _SETTINGS).read_text(encoding="utf-8")))
        self._tokenizer = tokenizers.Tokenizer.from_file(str(folder / _FILE))
        self._tokenizer.no_padding()
        if self._settings.end is None:
            self._tokenizer.enable_truncation(self._settings.length)
        else:
            self._tokenizer.no_truncation()

    def __call__(self, texts: list[str], *, short: bool = False) -> npt.NDArray[np.int64]:
        """The tokens of `texts`: int64 [n, length], or filled up no further than the longest of them takes, to a
        multiple of eight, where they are to be `short`."""
        settings = self._settings
        cleaned = [_clean(text, settings.clean) for text in texts]
        rows = [encoding.ids for encoding in self._tokenizer.encode_batch(cleaned)]
        if settings.begin is not None and settings.end is not None:
            rows = [[settings.begin, *ids[: settings.length - 2], settings.end] for ids in rows]
        length = settings.length
        if short and not settings.from_left:
            length = min(length, _STEP * math.ceil(max(map(len, rows), default=1) / _STEP))
        tokens = np.full((len(texts), length), settings.pad, dtype=np.int64)
        for row, ids in zip(tokens, rows, strict=True):
            row[length - len(ids) if settings.from_left else 0 :][: len(ids)] = ids
        if settings.blank is not None:
            tokens[tokens == settings.blank] = 0
        return tokens


def save(tokenizer: Any, length: int, folder: Path) -> None:
    """Write one of open_clip's tokenizers.

    Raises:
        ValueError: it is of a kind that is not known here.
    """
    from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

    clean = tokenizer.clean_fn.__name__.removeprefix("_clean_")
    if clean not in ("lower", "whitespace", "canonicalize"):
        raise ValueError(f"texts are cleaned in another way: {clean}")
    if (
        isinstance(tokenizer, SimpleTokenizer)
        and tokenizer.reduction_fn is None
        and len(tokenizer.all_special_ids) == 2
    ):
        backend = _of_clip(tokenizer)
        settings = TokenizerSettings(clean, length, 0, tokenizer.sot_token_id, tokenizer.eot_token_id)
    elif (
        isinstance(tokenizer, HFTokenizer)
        and not tokenizer.tokenizer_mode
        and tokenizer.tokenizer.is_fast
        and tokenizer.tokenizer.truncation_side == "right"
    ):
        inner = tokenizer.tokenizer
        backend = inner.backend_tokenizer
        settings = TokenizerSettings(
            clean,
            length,
            inner.pad_token_id,
            blank=inner.sep_token_id if tokenizer.strip_sep_token else None,
            from_left=inner.padding_side == "left",
        )
    else:
        raise ValueError(f"a tokenizer of another kind: {type(tokenizer).__name__}")
    backend.save(str(folder / _FILE))
    (folder / _SETTINGS).write_text(json.dumps(asdict(settings)), encoding="utf-8")


def _of_clip(tokenizer: Any) -> Any:
    """CLIP's byte pair encoding, for the library that has all of them."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    backend = Tokenizer(
        models.BPE(vocab=tokenizer.encoder, merges=list(tokenizer.bpe_ranks), end_of_word_suffix="</w>")
    )
    # A combining letter that Python's expressions, which open_clip splits words with, leave out: its capital is a
    # letter of its own, so that it is one where letters are excluded, and none where they are looked for.
    pattern = tokenizer.pat.pattern.replace(r"[^\s", "[^\\s\u0345")
    words = pre_tokenizers.Split(Regex(pattern), behavior="removed", invert=True)
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([words, bytes_])
    backend.add_special_tokens([name for name in tokenizer.encoder if name.startswith("<") and name.endswith("_text>")])
    return backend


def _clean(text: str, how: str) -> str:
    # Of most queries ftfy changes nothing, and its import takes as long as embedding them.
    if not (text.isascii() and text.isprintable() and "&" not in text):
        import ftfy

        text = html.unescape(html.unescape(ftfy.fix_text(text)))
    if how == "canonicalize":
        text = text.replace("_", " ").translate(_NO_PUNCTUATION)
    text = " ".join(text.split())
    return text if how == "whitespace" else text.lower()

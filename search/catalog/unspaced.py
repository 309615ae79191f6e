"""Writing without blanks between words: made fit for a full-text index that only knows words between blanks."""

from __future__ import annotations

import re

SEAM = "\u200b"
"""Zero width space: FTS5 takes words apart there, and nobody sees it."""

# Thai and Lao, Myanmar, Khmer, Han with its extensions, kana, and Hangul, whose particles cling to the word.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
_CHARACTER = re.compile(f"([{_UNSPACED}])")
_RUN = re.compile(f"[{_UNSPACED}]+")


def spaced(text: str) -> str:
    """`text` with a seam around every character of unspaced writing, so that each is a word of its own, and a phrase
    of them is found wherever it stands."""
    return _CHARACTER.sub(rf"{SEAM}\1{SEAM}", text)


def joined(text: str) -> str:
    """`text` without seams."""
    return text.replace(SEAM, "")


def pairs(word: str) -> list[str]:
    """What to look for in place of a free word: each two neighbouring characters of its unspaced stretches and each
    stretch of other writing, since what stands between two blanks may be a whole sentence.

    >>> pairs("東京の夜景")
    ['東京', '京の', 'の夜', '夜景']
    >>> pairs("beach")
    ['beach']
    """
    found: list[str] = []
    end = 0
    for run in _RUN.finditer(word):
        found += [word[end : run.start()], *(run[0][i : i + 2] for i in range(max(1, len(run[0]) - 1)))]
        end = run.end()
    return [piece for piece in (*found, word[end:]) if piece]

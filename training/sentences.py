"""The text teacher: a sentence transformer's embeddings, from a folder with its weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from training.corpus import plain
from training.run import Run


class SentenceTeacher:
    """A BERT-like sentence encoder with mean pooling (Reimers and Gurevych 2019), such as all-MiniLM-L6-v2."""

    def __init__(self, folder: Path, device: str) -> None:
        """Load its tokenizer and weights from `folder`."""
        from transformers import AutoModel, AutoTokenizer

        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._network: Any = AutoModel.from_pretrained(folder, local_files_only=True).to(device).eval()
        self._device = device

    def embed(
        self, texts: list[str], batch: int = 256, progress: Callable[[str], None] | None = None
    ) -> npt.NDArray[np.float16]:
        """Unit embeddings float16 [n, d] of `texts`; those of like length go together, to pad little."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        rows: list[npt.NDArray[np.float16]] = []
        for start in range(0, len(order), batch):
            rows.append(self._embed([texts[i] for i in order[start : start + batch]]))
            if progress is not None:
                progress(f"{min(start + batch, len(order)):,} of {len(order):,} texts")
        embeddings = np.concatenate(rows)
        out = np.empty_like(embeddings)
        out[order] = embeddings
        return out

    def _embed(self, texts: list[str]) -> npt.NDArray[np.float16]:
        tokens = self._tokenizer(texts, padding=True, truncation=True, max_length=64, return_tensors="pt")
        tokens = tokens.to(self._device)
        with torch.inference_mode(), torch.autocast(self._device, torch.bfloat16):
            states = self._network(**tokens).last_hidden_state.float()
        mask = tokens["attention_mask"][:, :, None]
        pooled = functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1)
        return pooled.to(torch.float16).cpu().numpy()


class Sentences:
    """The text teacher's embeddings of the corpus, by text; those of other texts are computed when asked for."""

    def __init__(self, run: Run, teacher: Path, device: str) -> None:
        """Open what the stage `teacher` has stored."""
        texts = run.read_json("texts/corpus.json", made_by="prepare")
        self._rows = {text: row for row, text in enumerate(texts)}
        self._embeddings = np.load(run.path("texts/embeddings.npy", made_by="teacher"), mmap_mode="r")
        self._folder, self._device = teacher, device
        self._teacher: SentenceTeacher | None = None

    @property
    def width(self) -> int:
        """The embeddings' length s."""
        return int(self._embeddings.shape[1])

    def __getitem__(self, texts: list[str]) -> npt.NDArray[np.float32]:
        """Unit embeddings float32 [n, s] of `texts`, each as `training.corpus.plain` writes it."""
        texts = [plain(text) for text in texts]
        out = np.empty((len(texts), self.width), np.float32)
        missing = [i for i, text in enumerate(texts) if text not in self._rows]
        for i, text in enumerate(texts):
            if text in self._rows:
                out[i] = self._embeddings[self._rows[text]]
        if missing:
            if self._teacher is None:
                self._teacher = SentenceTeacher(self._folder, self._device)
            out[missing] = self._teacher.embed([texts[i] for i in missing])
        return out

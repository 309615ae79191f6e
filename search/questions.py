"""Turning what is asked into vectors, with the index's own model."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import numpy as np

from search.answer import Request, understood
from search.catalog import model_records
from search.catalog.connection import connect_to_read
from search.catalog.model_records import ModelRecord
from search.embedded_texts import embedded_sentences
from search.errors import ModelError, QueryError, SightlineError
from search.home import Home
from search.vectors.protocol import Floats

if TYPE_CHECKING:
    from PIL.Image import Image

    from search.models.encoder import Encoder

CACHED_TEXTS = 1024


def texts_of(requests: Sequence[Request]) -> list[str]:
    """What of some requests goes through the model, as texts; what cannot be answered as it is asked is passed over."""
    texts: list[str] = []
    for request in requests:
        with suppress(QueryError):
            query = understood(request)
            texts += [query.text, *query.excluded] if request.mode != "words" else []
    return [text for text in texts if text]


def ahead_of(home: Home, request: Request, device: str) -> Questions | None:
    """The texts of a request on their way through the index's model, in a thread, for an engine that is yet to be
    imported and opened; None where there are none, or no index. What fails is told to whoever asks for the texts."""
    with suppress(SightlineError):
        if texts := texts_of([request]):
            with closing(connect_to_read(home)) as connection:
                model = model_records.active(connection)
            if model is not None:
                questions = Questions(model, device)
                threading.Thread(target=questions.embed_quietly, args=(texts,), name="texts").start()
                return questions
    return None


class Questions:
    """Embeds texts and pictures with one model, which is loaded at the first need; repeated texts come from a cache."""

    def __init__(self, model: ModelRecord, device: str) -> None:
        """Answer for `model`, on `device` (`auto`, `cpu` or `cuda`)."""
        self.model = model
        self._device = device
        self._encoder: Encoder | None = None
        self._texts: OrderedDict[str, Floats] = OrderedDict()
        self._underway: dict[str, Future[Floats]] = {}
        self._bank: Floats | None = None
        self._lock = threading.Lock()
        self._loading = threading.Lock()

    @property
    def is_loaded(self) -> bool:
        """Whether the model is loaded, so that nobody waits for it."""
        return self._encoder is not None

    def warm(self) -> None:
        """Load the model now.

        Raises:
            ModelError: see `encoder`.
        """
        self.prepare()
        self.bank()

    def prepare(self) -> None:
        """Load the model so that it answers texts at once, and from now on faster where it never did before.

        Raises:
            ModelError: see `encoder`.
        """
        self._load(convert=True)
        self.of_text("warm")

    def encoder(self) -> Encoder:
        """The model itself.

        Raises:
            ModelError: it is not on this machine, or its weights are not those that the index was made with.
        """
        return self._load(convert=False)

    def _load(self, *, convert: bool) -> Encoder:
        with self._loading:
            if self._encoder is None:
                from search.models.encoder import load_encoder

                encoder = load_encoder(self.model.name, device=self._device, convert=convert)
                preprocessing = encoder.preprocess.fingerprint
                if not self.model.is_made_with(encoder.fingerprint, preprocessing):
                    raise ModelError(
                        f"The index was made with other weights, or another preprocessing, of the model "
                        f"{self.model.name} ({self.model.fingerprint}, here {encoder.fingerprint}-{preprocessing}); "
                        "run `sightline index` to embed the photos anew, or bring the earlier ones back."
                    )
                self._encoder = encoder
            return self._encoder

    def of_text(self, text: str) -> Floats:
        """The embedding of `text`: float32[d], unit length."""
        return self.of_texts([text])[0]

    def of_texts(self, texts: Sequence[str]) -> list[Floats]:
        """The embedding of each text: float32[d], unit length. What is not known goes through the model at once; what
        another thread is about to know is waited for."""
        found: dict[str, Floats] = {}
        elsewhere: dict[str, Future[Floats]] = {}
        missing: dict[str, Future[Floats]] = {}
        with self._lock:
            for text in texts:
                if text in self._texts:
                    self._texts.move_to_end(text)
                    found[text] = self._texts[text]
                elif text in self._underway and text not in missing:
                    elsewhere[text] = self._underway[text]
                elif text not in missing:
                    missing[text] = self._underway[text] = Future()
        found.update(self._embedded(missing))
        found.update((text, future.result()) for text, future in elsewhere.items())
        return [found[text] for text in texts]

    def embed_quietly(self, texts: Sequence[str]) -> None:
        """As `of_texts`, for whoever asks for them then."""
        with suppress(Exception):
            self.of_texts(texts)

    def _embedded(self, missing: dict[str, Future[Floats]]) -> dict[str, Floats]:
        """The embeddings of texts, which whoever waits for the futures hears of too."""
        if not missing:
            return {}
        try:
            found = dict(zip(missing, self.encoder().embed_texts(list(missing)), strict=True))
        except BaseException as error:
            with self._lock:
                for text, future in missing.items():
                    del self._underway[text]
                    future.set_exception(error)
            raise
        with self._lock:
            for text, future in missing.items():
                del self._underway[text]
                self._texts[text] = found[text]
                future.set_result(found[text])
            while len(self._texts) > CACHED_TEXTS:
                self._texts.popitem(last=False)
        return found

    def of_image(self, image: Image) -> Floats:
        """The embedding of an upright RGB picture: float32[d], unit length."""
        encoder = self.encoder()
        vector: Floats = encoder.embed_images(encoder.preprocess(image)[None])[0]
        return vector

    def bank(self) -> Floats:
        """The embeddings of Sightline's own sentences, which stand for any text: float32[n, d], unit length."""
        if self._bank is None:
            self._bank = embedded_sentences(self.model, self.encoder)
        return self._bank

    def without(self, vector: Floats, unwanted: list[str], weight: float) -> Floats:
        """`vector` less `weight` times the mean embedding of the `unwanted` texts: float32[d], unit length."""
        if not unwanted:
            return vector
        turned = vector - weight * np.mean(self.of_texts(unwanted), axis=0)
        return np.asarray(turned / max(float(np.linalg.norm(turned)), 1e-12), dtype=np.float32)

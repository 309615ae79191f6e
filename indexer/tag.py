"""The stage that gives photos their tags and kinds, from stored embeddings alone: no photo is opened for it.

Only new photos are tagged, or all of them where the vocabulary, the model or what is usual in the library is another
one. It goes on where it was stopped.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from indexer.progress import Progress
from indexer.report import IndexReport
from search import failpoints, kinds, tagging, vocabulary
from search.catalog import descriptions, model_records, settings, tags
from search.catalog.descriptions import TAGS
from search.catalog.model_records import ModelRecord
from search.embedded_texts import embedded, embedded_sentences
from search.errors import ModelError, SightlineError
from search.tagging import Tagger
from search.vectors import stored
from search.vectors.protocol import Floats
from search.vocabulary import Concept

if TYPE_CHECKING:
    from sqlite_utils import Database

    from search.models.encoder import Encoder

GROUP_PHOTOS = 1024
"""So many photos are committed together."""
_SETTING = "concepts"
NAMED = "tag_names"
"""The setting that says of which vocabulary the names of tags are."""
_NONE = "off"


def remember_concepts(connection: sqlite3.Connection, named: str) -> None:
    """From now on the home's own concepts are those of the file `named`, or none where it is `off`.

    Raises:
        SightlineError: the file cannot be read as concepts.
    """
    path = "" if named == _NONE else os.path.abspath(os.path.expanduser(named))
    if path:
        try:
            path.encode()
        except UnicodeEncodeError:
            raise SightlineError("The file of your own concepts has a name that is no UTF-8; rename it.") from None
        vocabulary.concepts(Path(path))
    settings.put(connection, _SETTING, path)


def tag(
    database: Database,
    encoder: Callable[[ModelRecord], Encoder],
    report: IndexReport,
    progress: Progress,
    timed: Callable[[str, int | None], AbstractContextManager[None]],
) -> None:
    """Go through the stage and count in `report`. `encoder` loads the model of a name, and is asked only where texts
    were never embedded; `timed` surrounds each part with its name and its number of photos. What cannot be done now
    waits for a later run, and `report.waits` says why."""
    model = model_records.active(database.conn)
    if model is None:
        return
    photos = PhotoTagging(database, model)
    if photos.problem:
        report.waits.append(photos.problem)
        progress.say(photos.problem)
    if not photos.waiting:
        return

    def tagged(done: int) -> None:
        report.tagged = done
        progress.advance(done, 0)

    try:
        with timed("vocabulary", None):
            tagger = photos.tagger(lambda: encoder(model), lambda texts: progress.advance(texts, 0))
    except ModelError as error:
        sentence = f"Tags wait for the model. {error}"
        report.waits.append(sentence)
        progress.say(sentence)
        return
    with timed(TAGS, photos.waiting):
        photos.run(tagger, tagged)


def vocabulary_name(model: ModelRecord, own: Path | None) -> str:
    """A name for what photos are tagged with: another one for every other model, vocabulary or way to use them. Raises
    `OSError` where the file of one's `own` concepts cannot be read."""
    constants = repr((tagging.CONSTANTS, kinds.CONSTANTS, model.fingerprint)).encode()
    content = b"\0".join([constants, *vocabulary.contents(own)])
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def own_concepts(connection: sqlite3.Connection) -> Path | None:
    """The file of the home's own concepts, or None."""
    return Path(path) if (path := settings.get(connection, _SETTING)) else None


class PhotoTagging:
    """The photos that wait for their tags.

    Attributes:
        waiting: how many they are.
        problem: a sentence, where the home's own concepts cannot be read; nothing waits then, and all tags stay.
    """

    def __init__(self, database: Database, model: ModelRecord) -> None:
        """Look at the photos that `model`, the active one, has embedded."""
        self._database = database
        self._connection: sqlite3.Connection = database.conn
        self._model = model
        self.waiting = 0
        self.problem: str | None = None
        own = own_concepts(self._connection)
        try:
            self._look(own)
        except (OSError, SightlineError) as error:
            if own is None:
                raise
            reason = f"{own} cannot be read: {error.strerror or error}." if isinstance(error, OSError) else str(error)
            self.waiting = 0
            self.problem = (
                f"Tags stay as they are, for your own concepts cannot be had. {reason} "
                "New photos get none until you mend that, or give --concepts another file, or `off` for none."
            )

    def _look(self, own: Path | None) -> None:
        self._vocabulary = vocabulary_name(self._model, own)
        self._calibration = tags.calibration(self._connection, self._model.key, self._vocabulary)
        author = self._calibration.author if self._calibration else None
        self.waiting = tags.untagged(self._connection, self._model.key, author)
        self._shipped = vocabulary.shipped() if self.waiting else ()
        self._concepts = tuple(vocabulary.concepts(own)) if self.waiting and own else self._shipped

    def tagger(self, encoder: Callable[[], Encoder], advance: Callable[[int], None]) -> Tagger:
        """What to tag them with. `encoder` is asked for where texts were never embedded, and `advance` hears how many
        are by then.

        Raises:
            ModelError: the model cannot be loaded.
        """
        if self._concepts is self._shipped:
            lexicon = tagging.shipped_lexicon()
        else:  # own concepts come after the others
            lexicon = tagging.lexicon(self._concepts, vocabulary.sentences(), len(self._shipped))
        return Tagger(
            lexicon,
            self._embedded(encoder, advance),
            embedded_sentences(self._model, encoder),
            self._model.logit_scale,
        )

    def run(self, tagger: Tagger, advance: Callable[[int], None]) -> None:
        """Tag them, telling `advance` how many are done."""
        if settings.get(self._connection, NAMED) != self._vocabulary:
            with self._database.atomic():
                tags.put_names(self._connection, self._concepts)
                settings.put(self._connection, NAMED, self._vocabulary)
        calibration = self._calibration or self._calibrated(tagger)
        done = last = 0
        while True:
            photos, last = tags.next_untagged(self._connection, self._model.key, calibration.author, last, GROUP_PHOTOS)
            if not photos:
                if done:
                    with self._database.atomic():
                        settings.grow_revision(self._connection)  # kinds decide which photos are copies
                return
            shares = tagger.shares(stored.unpack([photo.vector for photo in photos], self._model.dimensions))
            named = [
                [(self._concepts[place].tag, score) for place, score in found]
                for found in tagger.tags(shares, calibration.usual)
            ]
            signals = [photo.signals for photo in photos]
            taken = kinds.kinds(shares, tagger.lexicon.chance, self._concepts, signals)
            keys = [photo.key for photo in photos]
            with self._database.atomic():
                descriptions.seen_by(self._connection, TAGS, calibration.author)
                tags.put_tags(self._connection, calibration.author, dict(zip(keys, named, strict=True)))
                tags.put_kinds(self._connection, dict(zip(keys, taken, strict=True)))
                failpoints.reach("tags written")
            done += len(photos)
            advance(done)

    def _calibrated(self, tagger: Tagger) -> tags.Calibration:
        some = tags.sample(self._connection, self._model.key, self._model.dimensions, tagging.SAMPLE)
        usual = tagger.usual(some)
        with self._database.atomic():
            return tags.put_calibration(self._connection, self._model.key, self._vocabulary, usual)

    def _embedded(self, encoder: Callable[[], Encoder], advance: Callable[[int], None]) -> Floats:
        """The concepts' embeddings, float32[c, d]. Those of the shipped ones are kept apart from the user's own, so
        that a change to these costs no more than they do."""
        vectors = self._of(self._shipped, encoder, advance)
        if self._concepts is self._shipped:
            return vectors
        places = {concept: place for place, concept in enumerate(self._shipped)}
        own = [concept for concept in self._concepts if concept not in places]
        places |= {concept: place for place, concept in enumerate(own, start=len(places))}
        if own:
            vectors = np.concatenate([vectors, self._of(own, encoder, advance)])
        return vectors[[places[concept] for concept in self._concepts]]

    def _of(
        self, concepts: Sequence[Concept], encoder: Callable[[], Encoder], advance: Callable[[int], None]
    ) -> Floats:
        return embedded(self._model, [concept.wordings for concept in concepts], encoder, advance)

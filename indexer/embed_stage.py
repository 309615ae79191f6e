"""The stage of a run that reads and embeds: what a survey found new or changed, and what the model has not seen yet."""

from __future__ import annotations

import importlib
import sqlite3
import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, closing, suppress
from typing import TYPE_CHECKING

from indexer.forget import Renames
from indexer.known import KnownPhotos
from indexer.libraries import Libraries, is_below
from indexer.model_choice import LoadedModel, ModelChoice, weights_stamp
from indexer.progress import Preempted, Progress
from indexer.publishing import Publisher
from indexer.report import IndexOptions, IndexReport
from indexer.scan import FoundFile
from indexer.survey import Survey
from search import failpoints, tagging
from search.catalog import model_records, settings
from search.catalog.model_records import ModelRecord
from search.home import Home

if TYPE_CHECKING:
    from sqlite_utils import Database

    from indexer.decoding.decoders import Decoders
    from indexer.executors.protocol import Executor, Group
    from indexer.record import Recorder
    from search.models.encoder import Encoder


class EmbedStage:
    """Embeds, and makes a model the one that answers."""

    def __init__(
        self,
        home: Home,
        database: Database,
        options: IndexOptions,
        loaded: LoadedModel,
        decoders: Callable[[], Decoders],
        publisher: Publisher,
        report: IndexReport,
        progress: Progress,
        timed: Callable[[str, int | None], AbstractContextManager[None]],
    ) -> None:
        """Count in `report`, tell `progress`. `decoders` is asked at the first need for what decodes; `timed` surrounds
        each stage with its name and its number of photos."""
        self.home = home
        self.database = database
        self.connection: sqlite3.Connection = database.conn
        self.options = options
        self.loaded = loaded
        self.decoders = decoders
        self.publisher = publisher
        self.report = report
        self.progress = progress
        self._stage = timed

    def embed(self, survey: Survey, choice: ModelChoice, job: int, renames: Renames) -> ModelRecord:
        """Embed with the model of `choice`; `renames` hears of files that were found elsewhere.

        Returns:
            the model, which has seen by now all that can be seen; it is not made the one that answers.

        Raises:
            ModelError: the model cannot be loaded.
            Preempted: `progress` says that something more urgent waits; what was embedded is kept.
        """
        found = survey.found
        active = model_records.active(self.connection)
        if not found.to_read and choice.settled and active and not self._photos_without(active, survey):
            self._remember(choice)  # another one may be half built
            return active
        executor = self._executor(choice, len(found.to_read))  # it starts while the model is loaded
        with closing(executor):
            with self._stage("load", None):
                encoder, model = self._load(choice)
            again = self._photos_without(model, survey)
            self.report.unchanged -= len(again)  # they are counted when they are read
            to_read = found.to_read + again
            if not to_read:
                return model
            from indexer.record import Recorder

            library_of = Libraries(self.connection)
            gone = {key for key, _, _ in found.gone}
            recorder = Recorder(self.database, model, job, self.report, library_of, gone, renames)
            if active is None:
                self.activate(model)  # a first index answers while it is being made
            known = KnownPhotos(self.home, self.connection, model)
            threading.Thread(target=_make_ready, name="ready").start()
            self._record(executor.embed(encoder, to_read, known), recorder, model, len(to_read))
            if executor.meter is not None:
                executor.meter.keep(self.database, encoder, model, self.report.embedded)
            self.report.waits += executor.waits
        return model

    def _executor(self, choice: ModelChoice, files: int) -> Executor:
        if self.options.executor == "ray":
            from indexer.executors.ray import RayExecutor

            return RayExecutor(self.options, choice.precision, self.progress.say)
        from indexer.executors.local import LocalExecutor

        return LocalExecutor(self.decoders(), self.options.batch_size, files)

    def _record(self, embedded: Generator[Group], recorder: Recorder, model: ModelRecord, total: int) -> None:
        """Commit what is embedded as it comes, and tell how far it is."""
        done = published = 0
        failed = self.report.failed  # of earlier runs, whose files are as they were
        with self._stage("embed", total), closing(embedded):
            try:
                for batch, vectors in embedded:
                    recorder.add(batch, vectors)
                    done += len(batch)
                    self.progress.advance(done, self.report.failed - failed)
                    if self.publisher.in_a_long_run(model, self.report.embedded - published):
                        published = self.report.embedded
            except Preempted:
                recorder.commit()
                raise
            recorder.commit()

    def _load(self, choice: ModelChoice) -> tuple[Encoder, ModelRecord]:
        encoder = self.loaded.get(choice.name, choice.precision, self.options)
        with self.database.atomic():
            model = model_records.register(
                self.connection,
                name=encoder.name,
                weights=encoder.fingerprint,
                preprocessing=encoder.preprocess.fingerprint,
                precision=choice.precision,
                dimensions=encoder.dim,
                logit_scale=encoder.logit_scale,
                logit_bias=encoder.logit_bias,
            )
        self._remember(choice)
        failpoints.reach("model registered")
        return encoder, model

    def _remember(self, choice: ModelChoice) -> None:
        """Let the home use the model from now on, so that a run that is cut off goes on with it."""
        if choice.lasting and model_records.wanted(self.connection) != (choice.name, choice.precision):
            with self.database.atomic():
                settings.put(self.connection, "model", choice.name)
                settings.put(self.connection, "precision", choice.precision)

    def activate(self, model: ModelRecord) -> None:
        """From this commit on, queries use this model."""
        with self.database.atomic():
            model_records.activate(self.connection, model.key)
            settings.put(self.connection, "weights_stamp", weights_stamp(model.name))
            settings.grow_revision(self.connection)
            failpoints.reach("model activated")

    def _photos_without(self, model: ModelRecord, survey: Survey) -> list[FoundFile]:
        """A file, where this run has scanned, of each live photo that the model has not embedded yet."""
        found = survey.found
        if not (survey.scanned or found.returned) or model_records.has_embedded_all(self.connection, model.key):
            return []
        back = set(found.returned)  # where only some places were looked at
        busy = {file.known for file in found.to_read} | {key for key, *_ in (*found.gone, *found.left_out)}
        chosen: dict[int, FoundFile] = {}
        for photo, *row in self.connection.execute(
            "SELECT photo_key, folder, name, size, mtime_ns, files.key FROM files JOIN photos ON photos.key = photo_key"
            " WHERE orphaned_at IS NULL AND NOT EXISTS"
            " (SELECT 1 FROM embeddings WHERE model_key = ? AND embeddings.photo_key = photos.key) ORDER BY files.key",
            (model.key,),
        ):
            file = FoundFile(*row)
            seen = is_below(file.folder, survey.scanned) and not is_below(file.folder, found.blind)
            if (seen or file.known in back) and file.known not in busy:
                chosen.setdefault(photo, file)
        return list(chosen.values())


def _make_ready() -> None:
    """Import and read what publishing and tagging take, while the first photos are waited for: in a run of few photos
    it would be a tenth of the time."""
    with suppress(Exception):  # whoever needs it says what is wrong
        importlib.import_module("faiss")
        tagging.shipped_lexicon()

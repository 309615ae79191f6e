"""One indexing run: scan the libraries, read and embed what is new, forget what is gone, publish."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.describe import stages
from indexer.forget import Renames, forget
from indexer.libraries import Libraries, is_below, outermost, root_of
from indexer.lock import writer_lock
from indexer.model_choice import choose, weights_stamp
from indexer.progress import Progress, Silent
from indexer.report import IndexOptions, IndexReport
from indexer.scan import FoundFile, Scan, scan
from indexer.shared_progress import SharedProgress
from indexer.tag import remember_concepts, tag
from search import background
from search.catalog import changes, job_progress, jobs, model_records, paths, settings, words
from search.catalog.connection import connect_to_read, connect_to_write
from search.catalog.descriptions import CAPTIONS, TEXT
from search.catalog.model_records import ModelRecord
from search.catalog.soundness import explained
from search.embedded_texts import embedded
from search.errors import SightlineError
from search.home import Home
from search.vectors.generations import publish, unpublished

if TYPE_CHECKING:
    from sqlite_utils import Database

    from search.models.encoder import Encoder
    from search.ranking_settings import RankingSettings


_UNPUBLISHED = 50_000
"""After so many embeddings a long run publishes, so that readers need not gather too much from the catalog."""


def run_index(
    home: Home,
    folders: Sequence[Path | str | bytes] = (),
    options: IndexOptions | None = None,
    progress: Progress | None = None,
    started: Callable[[int], None] | None = None,
) -> IndexReport:
    """Bring the index up to date with `folders`, or with every known library where none is named.

    A photo that cannot be read never fails the run. What was committed stays, however the run ends; the next one
    goes on from there. `started` hears the id of the job as soon as there is one.

    Raises:
        LockedError: another process is writing to this home.
        ModelError: the model cannot be named, found or loaded, or there is no such captioner.
        SettingsError: an environment variable has a value that cannot be.
        SightlineError: a folder does not exist, nothing is known to index, or the disk is full.
    """
    from search.ranking_settings import RankingSettings

    options = options or IndexOptions()
    stages.check(options)
    ranking = RankingSettings.read()
    roots = outermost([root_of(home, folder) for folder in folders])
    with writer_lock(home), closing(connect_to_write(home)) as connection:
        from sqlite_utils import Database

        run = _Run(home, Database(connection, recursive_triggers=False), options, progress or Silent(), ranking)
        return run.go(roots, started)


class _Run:
    """The state of one run."""

    def __init__(
        self, home: Home, database: Database, options: IndexOptions, progress: Progress, ranking: RankingSettings
    ) -> None:
        self.home = home
        self.database = database
        self.connection: sqlite3.Connection = database.conn
        self.options = options
        self.progress = progress
        self.ranking = ranking
        self.report = IndexReport()
        self.scanned: list[bytes] = []
        self.renames = Renames(self.connection)
        self.encoder: Encoder | None = None

    def go(self, roots: list[bytes], started: Callable[[int], None] | None) -> IndexReport:
        began = time.perf_counter()
        kept = [row[0] for row in self.connection.execute("SELECT path FROM libraries ORDER BY key")]
        if not roots and not kept:
            raise SightlineError("There is no library to index yet; name a folder: `sightline index PATH`.")
        job: int | None = None
        try:
            with self.database.atomic():
                job = jobs.start(self.connection, "index")
            self.progress = SharedProgress(self.progress, self.home, job)
            if started is not None:
                started(job)
            self._renew_words()
            choice = choose(self.connection, self.options.model, download=self.options.download)
            if choice.reason:
                self.progress.say(choice.reason)
            self.report.model = choice.name
            with self.database.atomic():
                for root in roots:
                    changes.add_library(self.connection, root)
                    if not is_below(root, kept):
                        self.renames.new.append(root)
                stages.remember(self.connection, self.options)
                if self.options.concepts is not None:
                    remember_concepts(self.connection, self.options.concepts)
            found = self._scan(roots or kept, must_exist=bool(roots))
            self._embed(found, job, choice.name, choice.settled)
            self.report.removed += forget(self.home, self.database, self.scanned, found.gone, self.renames)
            self._publish()
            self._balance()
            tag(self.database, self._encoder, self.report, self.progress, self._stage)
            self.encoder = None  # its memory is for whoever describes
            for stage in (CAPTIONS, TEXT):
                stages.describe(self.database, stage, self.options, self.report, self.progress, self._stage)
            self.report.seconds = time.perf_counter() - began
            self._end(job, "done", " ".join(self.report.waits) or None)
        except KeyboardInterrupt:
            self._end(job, "stopped", "It was stopped; the next run goes on from there.")
            raise
        except SightlineError as error:
            self._end(job, "failed", str(error))
            raise
        except (OSError, sqlite3.Error) as error:
            reason = getattr(error, "strerror", None) or str(error)
            sentence = f"The run ended early: {reason}. What was indexed so far is kept; run it again to go on."
            told = explained(self.home, error) or SightlineError(sentence)
            self._end(job, "failed", str(told))
            raise told from error
        except Exception as error:
            damage = explained(self.home, error)
            # Else a fault of the program; whoever reads `status` should not take it for at work.
            self._end(job, "failed", str(damage) if damage else f"{type(error).__name__}: {error}")
            if damage:
                raise damage from error
            raise
        return self.report

    def _renew_words(self) -> None:
        """Write the words of all photos as this version does, where an earlier one wrote them."""
        outdated = words.outdated(self.connection)
        if outdated is not None:
            with self._stage("words", len(outdated)) if outdated else nullcontext():
                for done in words.refresh_all(self.connection, outdated):
                    self.progress.advance(done, 0)

    def _scan(self, roots: list[bytes], *, must_exist: bool) -> Scan:
        whole = Scan()
        with self._stage("scan", None):
            for root in roots:
                try:
                    one = scan(
                        self.connection,
                        root,
                        skip=os.fsencode(self.home.path.resolve()),
                        seen=lambda count: self.progress.advance(count, 0),
                    )
                except OSError as error:
                    # A drive that is not plugged in is no reason to forget its photos.
                    sentence = (
                        f"{paths.display(root)} cannot be listed ({(error.strerror or str(error)).lower()}); "
                        "what is known of it stays as it is."
                    )
                    if must_exist:
                        raise SightlineError(sentence) from error
                    self.progress.say(sentence)
                    continue
                self.scanned.append(root)
                whole.to_read += one.to_read
                whole.gone += one.gone
                whole.unchanged += one.unchanged
                whole.failed += one.failed
                whole.unreadable += one.unreadable
        for folder, sentence in whole.unreadable:
            self.progress.say(f"{paths.display(folder)}: {sentence}; what is known of it stays as it is.")
        self.report.unchanged += whole.unchanged
        self.report.failed += whole.failed
        return whole

    def _embed(self, found: Scan, job: int, name: str, settled: bool) -> None:
        active = model_records.active(self.connection)
        if not found.to_read and settled and active and not self._photos_without(active, found):
            return
        with self._stage("load", None):
            encoder, model = self._load(name)
        again = self._photos_without(model, found)
        self.report.unchanged -= len(again)  # they are counted when they are read
        to_read = found.to_read + again
        if not to_read:
            self._activate(model)
            return
        from indexer.embed import BATCH_SIZE, embed
        from indexer.measure import EmbeddingMeter
        from indexer.pipeline import read_ahead
        from indexer.record import Recorder

        library_of = Libraries(self.connection)
        gone = {key for key, _, _ in found.gone}
        recorder = Recorder(self.database, model, job, self.report, library_of, gone, self.renames)
        if active is None:
            self._activate(model)  # a first index answers while it is being made
        known = _Known(self.home, self.connection, model)
        done = published = 0
        files = read_ahead(
            to_read,
            encoder.preprocess,
            known=known,
            workers=self.options.threads,
            look_ahead=3 * (self.options.batch_size or BATCH_SIZE[encoder.device]),
        )
        meter = EmbeddingMeter(len(to_read))
        failed = self.report.failed  # of earlier runs, whose files are as they were
        embedded = embed(encoder, files, len(to_read), self.options.batch_size, meter.model_seconds)
        with self._stage("embed", len(to_read)), closing(files), closing(embedded):  # however it ends, threads end too
            for batch, vectors in embedded:
                recorder.add(batch, vectors)
                done += len(batch)
                self.progress.advance(done, self.report.failed - failed)
                if self.report.embedded - published > _UNPUBLISHED:
                    publish(self.home, self.connection, model)
                    published = self.report.embedded
            recorder.commit()
        meter.keep(self.database, encoder, model, self.report.embedded)
        self._activate(model)

    def _load(self, name: str) -> tuple[Encoder, ModelRecord]:
        encoder = self._encoder(name)
        with self.database.atomic():
            model = model_records.register(
                self.connection,
                name=encoder.name,
                fingerprint=encoder.fingerprint,
                dimensions=encoder.dim,
                logit_scale=encoder.logit_scale,
                logit_bias=encoder.logit_bias,
            )
            # From here on it is what the home uses, so that a run that is cut off goes on with it.
            settings.put(self.connection, "model", model.name)
        return encoder, model

    def _activate(self, model: ModelRecord) -> None:
        with self.database.atomic():
            model_records.activate(self.connection, model.key)
            settings.put(self.connection, "weights_stamp", weights_stamp(model.name))
            settings.grow_revision(self.connection)

    def _photos_without(self, model: ModelRecord, found: Scan) -> list[FoundFile]:
        """A file, where this run has scanned, of each live photo that the model has not embedded yet."""
        busy = {file.known for file in found.to_read} | {key for key, _, _ in found.gone}
        blind = [folder for folder, _ in found.unreadable]
        chosen: dict[int, FoundFile] = {}
        for photo, *row in self.connection.execute(
            "SELECT photo_key, folder, name, size, mtime_ns, files.key FROM files JOIN photos ON photos.key = photo_key"
            " WHERE orphaned_at IS NULL AND NOT EXISTS"
            " (SELECT 1 FROM embeddings WHERE model_key = ? AND embeddings.photo_key = photos.key) ORDER BY files.key",
            (model.key,),
        ):
            file = FoundFile(*row)
            seen = is_below(file.folder, self.scanned) and not is_below(file.folder, blind)
            if seen and file.known not in busy:
                chosen.setdefault(photo, file)
        return list(chosen.values())

    def _publish(self) -> None:
        model = model_records.active(self.connection)
        if model is not None and unpublished(self.connection, model.key):
            with self._stage("publish", None):
                publish(self.home, self.connection, model)

    def _balance(self) -> None:
        """Measure what texts in general make of the photos that are new."""
        from search.vocabulary import sentences

        model = model_records.active(self.connection)
        if model is None:
            return
        bank = sentences()
        name = background.identity(bank, self.ranking)
        if not background.unmeasured(self.connection, model.key, name):
            return
        with self._stage("balance", len(bank)):
            vectors = embedded(
                model,
                [[sentence] for sentence in bank],
                lambda: self._encoder(model.name),
                lambda done: self.progress.advance(done, 0),
            )
            # Measured first: the transaction should not keep others waiting.
            measured = background.measure(self.connection, model.key, name, vectors, self.ranking)
            with self.database.atomic():
                background.keep(self.connection, model.key, name, measured)
                settings.grow_revision(self.connection)

    def _encoder(self, name: str) -> Encoder:
        """The model, loaded at the first need."""
        if self.encoder is None:
            from search.models.encoder import load_encoder

            self.encoder = load_encoder(
                name, device=self.options.device, precision=self.options.precision, allow_download=self.options.download
            )
        return self.encoder

    def _end(self, job: int | None, state: str, message: str | None = None) -> None:
        if job is None:
            return
        try:
            with self.database.atomic():
                jobs.update(self.connection, job, self.report.counts())
                jobs.end(self.connection, job, state, message)
        except sqlite3.Error:
            pass  # a full disk may refuse this too; the next run sees a job whose process is gone
        job_progress.remove(self.home)

    @contextmanager
    def _stage(self, name: str, total: int | None) -> Iterator[None]:
        self.progress.stage(name, total)
        began = time.perf_counter()
        try:
            yield
        finally:
            self.report.stages[name] = self.report.stages.get(name, 0.0) + time.perf_counter() - began


class _Known:
    """Whether the model has embedded a photo already; asked by many threads, so each has a connection of its own."""

    def __init__(self, home: Home, connection: sqlite3.Connection, model: ModelRecord) -> None:
        import threading

        self._home = home
        self._model = model
        self._local = threading.local()
        # Most first runs find nothing twice; they are spared a question for each photo.
        self._any = connection.execute("SELECT 1 FROM embeddings WHERE model_key = ? LIMIT 1", (model.key,)).fetchone()

    def __call__(self, photo_id: str) -> bool:
        if not self._any:
            return False
        if not hasattr(self._local, "connection"):
            self._local.connection = connect_to_read(self._home)
        return changes.embedded_photo(self._local.connection, self._model.key, photo_id) is not None

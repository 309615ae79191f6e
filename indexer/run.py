"""One indexing run: look through the libraries, read and embed what is new, forget what is gone, publish."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from indexer import executors, rules
from indexer.absence import Absences
from indexer.describe import stages
from indexer.embed_stage import EmbedStage
from indexer.forget import Renames, forget
from indexer.libraries import check_new, is_below, outermost, root_of
from indexer.lock import writer_lock
from indexer.model_choice import LoadedModel, ModelChoice, answers_as_it_did, choose
from indexer.progress import Preempted, Progress, Silent
from indexer.publishing import Publisher, remember_recall
from indexer.report import IndexOptions, IndexReport
from indexer.shared_progress import SharedProgress
from indexer.survey import Survey
from indexer.tag import remember_concepts, tag
from search import background, failpoints
from search.catalog import changes, jobs, model_records, settings, words
from search.catalog.connection import connect_to_read, connect_to_write
from search.catalog.descriptions import CAPTIONS, TEXT
from search.catalog.model_records import ModelRecord
from search.catalog.soundness import explained
from search.embedded_texts import embedded_sentences
from search.errors import CatalogError, SightlineError
from search.home import Home
from search.milvus import home_address
from search.milvus.address import LOCAL, Address
from search.milvus.touched import Touched
from search.vectors.generations import sweep

if TYPE_CHECKING:
    from sqlite_utils import Database

    from indexer.decoding.decoders import Decoders
    from indexer.decoding.settings import DecodingSettings
    from search.models.encoder import Encoder
    from search.ranking_settings import RankingSettings


_GRACE = "grace"
_KEEP_PREVIOUS = "keep_previous"


def run_index(
    home: Home,
    folders: Sequence[Path | str | bytes] = (),
    options: IndexOptions | None = None,
    progress: Progress | None = None,
    started: Callable[[int], None] | None = None,
    *,
    places: Sequence[bytes] | None = None,
    model: LoadedModel | None = None,
) -> IndexReport:
    """Bring the index up to date with `folders`, or with every known library where none is named.

    A photo that cannot be read never fails the run. What was committed stays, however the run ends; the next one
    goes on from there.

    Args:
        home: where the index lies.
        folders: libraries, or folders in them.
        options: how; what is None in them is as the home remembers it.
        progress: hears how far it is.
        started: hears the id of the job as soon as there is one.
        places: absolute paths of files and folders where something is known to have changed; only they are looked at.
        model: keeps the model loaded for the next run.

    Raises:
        LockedError: another process is writing to this home.
        ExecutorError: the cluster that was asked for is not to be had.
        ModelError: the model cannot be named, found or loaded, or there is no such captioner.
        SettingsError: an environment variable has a value that cannot be.
        SightlineError: a folder does not exist, nothing is known to index, no library is to be had, or the disk is
            full.
    """
    from indexer.decoding.settings import DecodingSettings
    from search.ranking_settings import RankingSettings

    options = options or IndexOptions()
    stages.check(options)
    if places is not None:
        options = replace(options, executor="local")  # a few files are embedded here before a cluster has begun
    executors.check(options)
    rules.Rules().changed(*options.rules)
    Address.parse(options.vectors or LOCAL)
    ranking, decoding = RankingSettings.read(), DecodingSettings.read()
    known = _known_libraries(home) if options.confirm_removals else ()
    roots = outermost([root_of(home, folder, known) for folder in folders])
    check_new(roots, lambda: _known_libraries(home))
    with writer_lock(home), closing(connect_to_write(home)) as connection:
        from sqlite_utils import Database

        database = Database(connection, recursive_triggers=False)
        run = _Run(home, database, options, progress or Silent(), ranking, decoding, model)
        try:
            return run.go(roots, places, started)
        finally:
            run.close()


def _known_libraries(home: Home) -> list[bytes]:
    try:
        with closing(connect_to_read(home)) as connection:
            return [row[0] for row in connection.execute("SELECT path FROM libraries")]
    except CatalogError:
        return []


class _Run:
    """The state of one run."""

    def __init__(
        self,
        home: Home,
        database: Database,
        options: IndexOptions,
        progress: Progress,
        ranking: RankingSettings,
        decoding: DecodingSettings,
        model: LoadedModel | None,
    ) -> None:
        self.home = home
        self.database = database
        self.connection: sqlite3.Connection = database.conn
        self.options = options
        self.progress = progress
        self.ranking = ranking
        self.decoding = decoding
        self.report = IndexReport()
        self.absences = Absences(self.connection, confirmed=options.confirm_removals)
        self.renames = Renames(self.connection)
        self.model = model or LoadedModel()
        self.keeps_model = model is not None
        self.decoders: Decoders | None = None
        in_milvus = home_address.remembered(self.connection) is not None
        self.touched = Touched(self.connection) if in_milvus else None

    def close(self) -> None:
        """End the processes that decode."""
        if self.decoders is not None:
            self.decoders.close()

    def go(
        self, roots: list[bytes], places: Sequence[bytes] | None, started: Callable[[int], None] | None
    ) -> IndexReport:
        began = time.perf_counter()
        kept = [row[0] for row in self.connection.execute("SELECT path FROM libraries ORDER BY key")]
        if not roots and not kept:
            raise SightlineError("There is no library to index yet; name a folder: `sightline index PATH`.")
        job: int | None = None
        try:
            with self.database.atomic():
                job = jobs.start(self.connection, "index", self.options.cause)
            failpoints.reach("job started")
            self.progress = SharedProgress(self.progress, self.home, job)
            if started is not None:
                started(job)
            self._renew_words()
            if places is not None and not answers_as_it_did(self.connection):
                places = None  # its weights were replaced: every photo is to be embedded anew
            choice = self._choose(places)
            self.report.model = choice.name
            with self.database.atomic():
                for root in roots:
                    changes.add_library(self.connection, root)
                    if not is_below(root, kept):
                        self.renames.new.append(root)
                stages.remember(self.connection, self.options)
                rules.keep(self.connection, rules.read(self.connection).changed(*self.options.rules))
                if self.options.recall is not None:
                    remember_recall(self.connection, self.options.recall)
                if self.options.vectors is not None:
                    home_address.remember(self.connection, self.options.vectors)
                if self.options.grace is not None:
                    settings.put(self.connection, _GRACE, str(self.options.grace))
                if self.options.keep_previous is not None:
                    settings.put(self.connection, _KEEP_PREVIOUS, "on" if self.options.keep_previous else "off")
                if self.options.concepts is not None:
                    remember_concepts(self.connection, self.options.concepts)
            failpoints.reach("library added")
            survey = self._survey(roots, kept, places)
            failpoints.reach("scanned")
            publisher = Publisher(self.home, self.database, self._encoder, self.progress, self._stage, self.touched)
            embedding = EmbedStage(
                self.home,
                self.database,
                self.options,
                self.model,
                self._decoders,
                publisher,
                self.report,
                self.progress,
                self._stage,
            )
            model = embedding.embed(survey, choice, job, self.renames)
            grace = timedelta(seconds=float(settings.get(self.connection, _GRACE) or changes.GRACE.total_seconds()))
            forget(
                self.home,
                self.database,
                survey.scanned,
                survey.found,
                self.renames,
                self.absences,
                self.report,
                grace,
            )
            self.report.missing = self.absences.missing
            for sentence in self.absences.sentences:
                self.progress.say(sentence)
            self.report.waits += [*survey.away, *self.absences.sentences]
            # Another model answers when nothing of what an answer takes is lacking any more, and then at once.
            publisher.at_the_end(model, small=places is not None)
            self._balance(model)
            active = model_records.active(self.connection)
            if places is None and not (active == model and answers_as_it_did(self.connection)):
                embedding.activate(model)
            self._let_go_of_models()
            tag(self.database, self._encoder, self.report, self.progress, self._stage)
            publisher.show(self.report)
            if not self.keeps_model:
                self.model.release()  # its memory is for whoever describes
            for stage in (CAPTIONS, TEXT):
                stages.describe(
                    self.database, stage, self.options, self.report, self.progress, self._decoders, self._stage
                )
            publisher.show(self.report)
            failpoints.reach("job ending")
            self._end(job, "done", " ".join(self.report.waits) or None)
        except Preempted as preempted:
            self.report.preempted = True
            self._end(job, "stopped", str(preempted))
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
        self.report.seconds = time.perf_counter() - began
        return self.report

    def _choose(self, places: Sequence[bytes] | None) -> ModelChoice:
        active = model_records.active(self.connection)
        if places is not None and active is not None:
            # What has just arrived is to be found at once, among the others; a change of models is for a whole run.
            return ModelChoice(active.name, active.precision, settled=True, lasting=False)
        choice = choose(self.connection, self.options)
        if choice.reason:
            self.progress.say(choice.reason)
        return choice

    def _renew_words(self) -> None:
        """Write the words of all photos as this version does, where an earlier one wrote them."""
        outdated = words.outdated(self.connection)
        if outdated is not None:
            with self._stage("words", len(outdated)) if outdated else nullcontext():
                for done in words.refresh_all(self.connection, outdated):
                    self.progress.advance(done, 0)

    def _survey(self, roots: list[bytes], kept: list[bytes], places: Sequence[bytes] | None) -> Survey:
        with self._stage("scan", None):
            survey = Survey(
                self.home,
                self.database,
                self.absences,
                self.progress.say,
                lambda count: self.progress.advance(count, 0),
            )
            if places is None:
                survey.whole(roots or kept, named=bool(roots))
            else:
                survey.places(places)
        survey.say_unreadable()
        self.report.unchanged += survey.found.unchanged
        self.report.failed += survey.found.failed
        if survey.found.to_read or survey.found.gone:  # else nothing is moved or forgotten
            self.absences.count()
        return survey

    def _balance(self, model: ModelRecord) -> None:
        """Measure what texts in general make of the photos that are new."""
        from search.vocabulary import sentences

        bank = sentences()
        name = background.identity(bank, self.ranking)
        if not background.unmeasured(self.connection, model.key, name):
            return
        with self._stage("balance", len(bank)):
            vectors = embedded_sentences(
                model, lambda: self._encoder(model), lambda done: self.progress.advance(done, 0)
            )
            # Measured first: the transaction should not keep others waiting.
            measured = background.measure(self.connection, model.key, name, vectors, self.ranking)
            with self.database.atomic():
                background.keep(self.connection, model.key, name, measured)
                settings.grow_revision(self.connection)
                failpoints.reach("balance kept")

    def _let_go_of_models(self) -> None:
        """Delete what earlier models made of the photos, some time after they were left."""
        if settings.get(self.connection, _KEEP_PREVIOUS) == "on":
            return
        with self.database.atomic():
            left = model_records.let_go(self.connection)
        if left:
            sweep(self.home, self.connection)

    def _encoder(self, model: ModelRecord) -> Encoder:
        """The model, loaded at the first need."""
        return self.model.get(model.name, model.precision, self.options)

    def _decoders(self) -> Decoders:
        """What decodes photos, made at the first need."""
        if self.decoders is None:
            from indexer.decoding.decoders import Decoders

            self.decoders = Decoders.of_process(self.options.threads, self.decoding)
        return self.decoders

    def _end(self, job: int | None, state: str, message: str | None = None) -> None:
        if job is None:
            return
        try:
            with self.database.atomic():
                jobs.update(self.connection, job, self.report.counts())
                jobs.end(self.connection, job, state, message)
        except sqlite3.Error:
            pass  # a full disk may refuse this too; the next run sees a job whose process is gone
        if isinstance(self.progress, SharedProgress):
            self.progress.close()

    @contextmanager
    def _stage(self, name: str, total: int | None) -> Iterator[None]:
        self.progress.stage(name, total)
        began = time.perf_counter()
        try:
            yield
        finally:
            self.report.stages[name] = self.report.stages.get(name, 0.0) + time.perf_counter() - began

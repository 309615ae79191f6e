"""Rows that speak of each other: photos and their files, files and their libraries, settings and what they name."""

from __future__ import annotations

from collections.abc import Iterator

from indexer.verify import libraries, references
from indexer.verify.findings import Finding, Mending, View, are, listed, several
from search.catalog import changes, settings, words

_ORPHANS_WITH_FILES = "SELECT key FROM photos WHERE orphaned_at IS NOT NULL AND key IN (SELECT photo_key FROM files)"
_WITHOUT_FILES = (
    "SELECT key FROM photos WHERE orphaned_at IS NULL AND key NOT IN"
    " (SELECT photo_key FROM files WHERE photo_key IS NOT NULL)"
)


def look(view: View) -> Iterator[Finding]:
    """Rows that speak of what is not there, or not of what is."""
    view.progress.stage("links", None)
    view.checked["photos"] = view.one("SELECT count(*) FROM photos")
    view.checked["files"] = view.one("SELECT count(*) FROM files")
    yield from references.look(view)
    yield from _orphans(view)
    yield from libraries.look(view)
    yield from _settings(view)


def _orphans(view: View) -> Iterator[Finding]:
    there = [row[0] for row in view.connection.execute(_ORPHANS_WITH_FILES)]
    if there:
        yield Finding(
            "orphans",
            f"{several(len(there), 'photo')} {are(len(there))} marked as gone though in a file: {view.names(there)}.",
            lambda mending: _mark(mending, there, gone=False),
            about="in files",
        )
    gone = [row[0] for row in view.connection.execute(_WITHOUT_FILES)]
    if gone:
        yield Finding(
            "orphans",
            f"No file holds {several(len(gone), 'photo')} that {are(len(gone))} not marked as gone.",
            lambda mending: _mark(mending, gone, gone=True),
            about="in none",
        )


def _mark(mending: Mending, keys: list[int], *, gone: bool) -> None:
    with mending.transaction():
        if gone:
            changes.mark_orphans(mending.connection, keys)
        else:
            for key in keys:
                changes.bring_back(mending.connection, key)
            words.refresh(mending.connection, keys)
        settings.grow_revision(mending.connection)


def _settings(view: View) -> Iterator[Finding]:
    names = {row[0] for row in view.connection.execute("SELECT name FROM settings")}
    missing = sorted({"revision", "dismissals", "words_state"} - names)
    if missing:
        yield Finding("settings", f"The catalog lacks {listed(missing, len(missing))}.", _put_missing)
    active = settings.get(view.connection, "active_model")
    models = {str(row[0]) for row in view.connection.execute("SELECT key FROM models")}
    if active not in models and (active is not None or view.one("SELECT count(*) FROM embeddings")):
        what = "names none" if active is None else "names one that is not there"
        yield Finding(
            "settings",
            f"Of the models that have embedded photos the index {what} as its own.",
            _activate,
            about="model",
        )


def _put_missing(mending: Mending) -> None:
    with mending.transaction():
        settings.put_missing(mending.connection)


def _activate(mending: Mending) -> None:
    """Let that model answer which has embedded the most photos, the newest of several."""
    connection = mending.connection
    with mending.transaction():
        row = connection.execute(
            "SELECT models.key, name FROM models JOIN embeddings ON model_key = models.key"
            " GROUP BY models.key ORDER BY count(*) DESC, models.key DESC LIMIT 1"
        ).fetchone()
        if row is None:
            connection.execute("DELETE FROM settings WHERE name = 'active_model'")
        else:
            settings.put(connection, "active_model", str(row[0]))
            if settings.get(connection, "model") is None:
                settings.put(connection, "model", row[1])
        settings.grow_revision(connection)

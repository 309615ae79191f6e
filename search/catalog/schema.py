"""The catalog's tables, as numbered migrations; once released, a migration is never edited.

Paths are BLOBs, because a file name on Linux is any byte sequence. Times are ISO 8601 text. A photo is *live* while at
least one file holds it; `orphaned_at` is set when the last one goes, so that a photo that comes back costs nothing.
A file is *missing* (`missing_at`) while it is not where it was and yet not given up: its library is away, or too much
of it went at once; why a whole library is away is `offline`, a sentence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from search import failpoints

if TYPE_CHECKING:
    from sqlite_utils import Database, Migrations

VERSION = 7
"""What `PRAGMA user_version` says in a catalog that has had every migration below."""

_TABLES = """
CREATE TABLE libraries (
    key INTEGER PRIMARY KEY,
    path BLOB NOT NULL UNIQUE,
    added_at TEXT NOT NULL,
    indexed_at TEXT
);
CREATE TABLE photos (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    format TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    taken_at TEXT,
    sort_at TEXT NOT NULL,
    camera TEXT,
    lens TEXT,
    latitude REAL,
    longitude REAL,
    kind TEXT,
    added_at TEXT NOT NULL,
    orphaned_at TEXT
);
CREATE INDEX photos_by_date ON photos (sort_at DESC, key DESC) WHERE orphaned_at IS NULL;
CREATE TABLE files (
    key INTEGER PRIMARY KEY,
    folder BLOB NOT NULL,
    name BLOB NOT NULL,
    library_key INTEGER NOT NULL REFERENCES libraries (key),
    photo_key INTEGER REFERENCES photos (key),
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    failure TEXT,
    UNIQUE (folder, name)
);
CREATE INDEX files_by_photo ON files (photo_key);
CREATE INDEX files_by_library ON files (library_key, folder);
CREATE TABLE captions (
    photo_key INTEGER NOT NULL REFERENCES photos (key) ON DELETE CASCADE,
    author TEXT NOT NULL,
    text TEXT NOT NULL,
    written_at TEXT NOT NULL,
    PRIMARY KEY (photo_key, author)
) WITHOUT ROWID;
CREATE TABLE tags (
    photo_key INTEGER NOT NULL REFERENCES photos (key) ON DELETE CASCADE,
    tag TEXT NOT NULL COLLATE NOCASE,
    score REAL NOT NULL,
    PRIMARY KEY (photo_key, tag)
) WITHOUT ROWID;
CREATE INDEX photos_by_tag ON tags (tag);
CREATE TABLE texts (
    photo_key INTEGER PRIMARY KEY REFERENCES photos (key) ON DELETE CASCADE,
    text TEXT NOT NULL
);
CREATE VIRTUAL TABLE words USING fts5 (caption, tags, text, name, tokenize = 'unicode61 remove_diacritics 2');
CREATE TABLE models (
    key INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    dimensions INTEGER NOT NULL,
    logit_scale REAL NOT NULL,
    logit_bias REAL,
    added_at TEXT NOT NULL,
    UNIQUE (name, fingerprint)
);
CREATE TABLE embeddings (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    model_key INTEGER NOT NULL REFERENCES models (key) ON DELETE CASCADE,
    photo_key INTEGER NOT NULL REFERENCES photos (key) ON DELETE CASCADE,
    vector BLOB NOT NULL,
    UNIQUE (model_key, photo_key)
);
CREATE INDEX embeddings_by_photo ON embeddings (photo_key);
CREATE TABLE generations (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    model_key INTEGER NOT NULL REFERENCES models (key) ON DELETE CASCADE,
    folder TEXT NOT NULL,
    photos INTEGER NOT NULL,
    through INTEGER NOT NULL,
    checksums TEXT NOT NULL,
    published_at TEXT NOT NULL
);
CREATE TABLE jobs (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    started_at TEXT NOT NULL,
    ended_at TEXT,
    counts TEXT NOT NULL DEFAULT '{}',
    message TEXT
);
CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO settings (name, value) VALUES ('revision', '0');
"""

_DESCRIPTIONS = """
CREATE TABLE descriptions (
    photo_key INTEGER NOT NULL REFERENCES photos (key) ON DELETE CASCADE,
    stage TEXT NOT NULL,
    author TEXT NOT NULL,
    written_at TEXT NOT NULL,
    failure TEXT,
    PRIMARY KEY (photo_key, stage)
) WITHOUT ROWID;
CREATE TABLE levels (
    model_key INTEGER NOT NULL REFERENCES models (key) ON DELETE CASCADE,
    photo_key INTEGER NOT NULL REFERENCES photos (key) ON DELETE CASCADE,
    level REAL NOT NULL,
    PRIMARY KEY (model_key, photo_key)
) WITHOUT ROWID;
CREATE INDEX levels_by_photo ON levels (photo_key);
CREATE TABLE backgrounds (
    model_key INTEGER PRIMARY KEY REFERENCES models (key) ON DELETE CASCADE,
    bank TEXT NOT NULL,
    photos INTEGER NOT NULL,
    maxima BLOB NOT NULL,
    spread REAL NOT NULL
);
ALTER TABLE texts ADD COLUMN lines TEXT NOT NULL DEFAULT '[]';
DROP TABLE words;
CREATE VIRTUAL TABLE words USING fts5 (own, caption, tags, text, name, tokenize = 'unicode61 remove_diacritics 2');
CREATE VIRTUAL TABLE parts USING fts5 (text, name, tokenize = 'trigram')
"""

_TAGGING = """
CREATE TABLE calibrations (
    model_key INTEGER PRIMARY KEY REFERENCES models (key) ON DELETE CASCADE,
    vocabulary TEXT NOT NULL,
    photos INTEGER NOT NULL,
    usual BLOB NOT NULL
);
CREATE TABLE tag_names (
    name TEXT NOT NULL,
    tag TEXT NOT NULL COLLATE NOCASE,
    PRIMARY KEY (name, tag)
) WITHOUT ROWID;
ALTER TABLE photos ADD COLUMN flatness REAL
"""

_SEARCHES = """
CREATE TABLE searches (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    q TEXT NOT NULL,
    mode TEXT NOT NULL,
    sort TEXT NOT NULL,
    include_all INTEGER NOT NULL,
    collapse INTEGER NOT NULL,
    liked TEXT NOT NULL,
    saved_at TEXT NOT NULL
)
"""

_DUPLICATES = """
ALTER TABLE photos ADD COLUMN preview BLOB;
ALTER TABLE photos ADD COLUMN perceptual_hash INTEGER;
CREATE TABLE dismissals (
    photo_key INTEGER NOT NULL REFERENCES photos (key) ON DELETE CASCADE,
    other_key INTEGER NOT NULL REFERENCES photos (key) ON DELETE CASCADE,
    PRIMARY KEY (photo_key, other_key),
    CHECK (photo_key < other_key)
) WITHOUT ROWID;
CREATE INDEX dismissals_by_other ON dismissals (other_key);
CREATE INDEX files_failed ON files (folder, name) WHERE failure IS NOT NULL;
CREATE INDEX descriptions_failed ON descriptions (photo_key, stage) WHERE failure IS NOT NULL;
INSERT INTO settings (name, value) VALUES ('dismissals', '0'), ('words_state', lower(hex(randomblob(8))))
"""

_ABSENCES = """
ALTER TABLE jobs ADD COLUMN cause TEXT NOT NULL DEFAULT 'command';
ALTER TABLE jobs ADD COLUMN user TEXT;
ALTER TABLE libraries ADD COLUMN offline TEXT;
ALTER TABLE files ADD COLUMN missing_at TEXT;
ALTER TABLE models ADD COLUMN left_at TEXT;
CREATE INDEX files_missing ON files (library_key) WHERE missing_at IS NOT NULL
"""

# Triggers note all that filters ask of a photo's own row and files, whoever writes it; FTS5 takes none, so that words
# note themselves. The first row is there so that there always is a last one.
_CHANGELOG = """
CREATE TABLE changelog (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    photo_key INTEGER NOT NULL,
    mark INTEGER NOT NULL DEFAULT (random())
);
CREATE TRIGGER changelog_trimmed AFTER INSERT ON changelog
BEGIN DELETE FROM changelog WHERE number <= NEW.number - 100000; END;
CREATE TRIGGER photos_inserted AFTER INSERT ON photos
BEGIN INSERT INTO changelog (photo_key) VALUES (NEW.key); END;
CREATE TRIGGER photos_updated AFTER UPDATE
OF width, height, format, taken_at, sort_at, camera, kind, orphaned_at ON photos
BEGIN INSERT INTO changelog (photo_key) VALUES (NEW.key); END;
CREATE TRIGGER photos_deleted AFTER DELETE ON photos
BEGIN INSERT INTO changelog (photo_key) VALUES (OLD.key); END;
CREATE TRIGGER files_inserted AFTER INSERT ON files WHEN NEW.photo_key IS NOT NULL
BEGIN INSERT INTO changelog (photo_key) VALUES (NEW.photo_key); END;
CREATE TRIGGER files_updated AFTER UPDATE OF folder, photo_key ON files
WHEN (OLD.folder, OLD.photo_key) IS NOT (NEW.folder, NEW.photo_key)
BEGIN INSERT INTO changelog (photo_key) SELECT OLD.photo_key WHERE OLD.photo_key IS NOT NULL
UNION SELECT NEW.photo_key WHERE NEW.photo_key IS NOT NULL; END;
CREATE TRIGGER files_deleted AFTER DELETE ON files WHEN OLD.photo_key IS NOT NULL
BEGIN INSERT INTO changelog (photo_key) VALUES (OLD.photo_key); END;
INSERT INTO changelog (photo_key) VALUES (0)
"""


def migrations() -> Migrations:
    """Every migration, in order. A transaction wraps each, its number in `PRAGMA user_version` included."""
    from sqlite_utils import Migrations

    steps = Migrations("sightline")

    @steps(name="0001")
    def first_tables(db: Database) -> None:
        _run(db, _TABLES)
        db.execute("PRAGMA user_version = 1")

    @steps(name="0002")
    def descriptions_and_parts_of_words(db: Database) -> None:
        _run(db, _DESCRIPTIONS)
        db.execute("PRAGMA user_version = 2")

    @steps(name="0003")
    def calibrations_of_tags(db: Database) -> None:
        _run(db, _TAGGING)
        db.execute("PRAGMA user_version = 3")

    @steps(name="0004")
    def saved_searches(db: Database) -> None:
        _run(db, _SEARCHES)
        db.execute("PRAGMA user_version = 4")

    @steps(name="0005")
    def looks_and_dismissals(db: Database) -> None:
        _run(db, _DUPLICATES)
        db.execute("PRAGMA user_version = 5")

    @steps(name="0006")
    def causes_of_jobs_and_absences(db: Database) -> None:
        _run(db, _ABSENCES)
        db.execute("PRAGMA user_version = 6")

    @steps(name="0007")
    def log_of_changes(db: Database) -> None:
        _run(db, _CHANGELOG)
        db.execute("PRAGMA user_version = 7")

    return steps


def _run(db: Database, script: str) -> None:
    for statement in script.split(";\n"):
        if statement.strip():
            db.execute(statement)
    failpoints.reach("migrating")

"""What other places of a damaged catalog say of rows that are lost: indexes, and the words that photos are found by."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence

from indexer.salvage.shapes import Shape
from indexer.salvage.trees import Row, Value
from indexer.scan import FAILED_FOR_NOW
from search.catalog.clock import now
from search.catalog.descriptions import CAPTIONS, TAGS, TEXT
from search.catalog.paths import is_within
from search.catalog.unspaced import joined
from search.catalog.words import PERSON

HEARD = frozenset(
    {
        *(f"sqlite_autoindex_{table}_1" for table in ("photos", "libraries", "models", "embeddings", "files")),
        "dismissals_by_other",
        "files_by_library",
        "files_by_photo",
        "words_content",
        "sqlite_sequence",
    }
)
"""What is heard; other indexes say nothing that their tables do not."""
COUNTED = {
    "dismissals": frozenset({"dismissals_by_other"}),
    **{table: frozenset({f"sqlite_autoindex_{table}_1"}) for table in ("photos", "libraries", "models", "embeddings")},
    "files": frozenset({"sqlite_autoindex_files_1", "files_by_library", "files_by_photo"}),
}
"""Tables of which indexes know every row, and which they are."""
UNKNOWN = "unknown-"
"""How the id of a photo begins of which only its place is known, until its file is read again."""
_PHOTO_ID = re.compile(r"[0-9a-f]{32}")
_TABLES = """
CREATE TEMP TABLE photo_ids (key INTEGER PRIMARY KEY, id TEXT);
CREATE TEMP TABLE library_paths (key INTEGER PRIMARY KEY, path BLOB);
CREATE TEMP TABLE model_names (key INTEGER PRIMARY KEY, name TEXT, fingerprint TEXT);
CREATE TEMP TABLE said (key INTEGER PRIMARY KEY, own TEXT, caption TEXT, tags TEXT, text TEXT);
CREATE TEMP TABLE embedded (model_key INTEGER, photo_key INTEGER, key INTEGER PRIMARY KEY);
CREATE TEMP TABLE placed (folder BLOB, name BLOB, key INTEGER PRIMARY KEY);
CREATE TEMP TABLE held (photo_key INTEGER, key INTEGER PRIMARY KEY);
CREATE TEMP TABLE shelved (library_key INTEGER, folder BLOB, key INTEGER PRIMARY KEY)
"""


class Witnesses:
    """Gathers what they say, and in the end puts it beside what was read of the tables themselves."""

    def __init__(self, new: sqlite3.Connection) -> None:
        """Gather for the catalog `new`, which has the tables of an old one but the words."""
        self._new = new
        new.executescript(_TABLES)

    def hear(self, shape: Shape, rows: Sequence[Row]) -> None:
        """Take in rows of an index, or of what a full-text index keeps."""
        values = [row.values for row in rows if shape.fits(row)]
        insert = "INSERT OR IGNORE INTO temp."
        if shape.name == "sqlite_autoindex_photos_1":
            whole = [(key, id) for id, key in values if _PHOTO_ID.fullmatch(str(id))]
            self._new.executemany(f"{insert}photo_ids VALUES (?, ?)", whole)
        elif shape.name == "sqlite_autoindex_libraries_1":
            self._new.executemany(f"{insert}library_paths VALUES (?, ?)", [(key, path) for path, key in values])
        elif shape.name == "sqlite_autoindex_models_1":
            self._new.executemany(f"{insert}model_names VALUES (?, ?, ?)", [(key, *named) for *named, key in values])
        elif shape.name == "sqlite_autoindex_embeddings_1":
            self._new.executemany(f"{insert}embedded VALUES (?, ?, ?)", values)
        elif shape.name == "sqlite_autoindex_files_1":
            self._new.executemany(f"{insert}placed VALUES (?, ?, ?)", values)
        elif shape.name == "files_by_photo":
            self._new.executemany(f"{insert}held VALUES (?, ?)", values)
        elif shape.name == "files_by_library":
            self._new.executemany(f"{insert}shelved VALUES (?, ?, ?)", values)
        elif shape.name == "dismissals_by_other":
            pairs = [(photo, other) for other, photo, *_ in values]
            self._new.executemany("INSERT OR IGNORE INTO dismissals (photo_key, other_key) VALUES (?, ?)", pairs)
        elif shape.name == "words_content":
            said: list[tuple[Value, ...]] = [
                (row.number, *(joined(str(text)) for text in row.values[1:5])) for row in rows if shape.fits(row)
            ]
            self._new.executemany(f"{insert}said VALUES (?, ?, ?, ?, ?)", said)
        elif shape.name == "sqlite_sequence":
            self._keep_numbers(values)

    def testify(self) -> tuple[list[int], dict[str, int]]:
        """Bring back what they know.

        Returns:
            the keys of photos of which they say something else than the table does, and of each table how many rows
            they know of that are lost.
        """
        with self._new:
            self._bring_back_files()
            missing = {
                "embeddings": self._one("SELECT count(*) FROM embedded WHERE key NOT IN (SELECT key FROM embeddings)"),
                "files": self._one("SELECT count(*) FROM placed WHERE key NOT IN (SELECT key FROM files)"),
            }
            self._bring_back_libraries()
            self._bring_back_models()
            doubtful = self._bring_back_photos()
            self._bring_back_what_was_said()
        return doubtful, missing

    def _bring_back_files(self) -> None:
        # Of size and date nothing is known, so the next run reads them.
        self._new.execute(
            "INSERT OR IGNORE INTO files (key, folder, name, library_key, photo_key, size, mtime_ns)"
            " SELECT key, placed.folder, name, library_key, photo_key, 0, ? FROM placed JOIN held USING (key)"
            " JOIN shelved USING (key) WHERE photo_key > 0 AND key > 0 AND key NOT IN (SELECT key FROM files)",
            (FAILED_FOR_NOW,),
        )

    def _bring_back_libraries(self) -> None:
        self._new.execute(
            "INSERT OR IGNORE INTO libraries (key, path, added_at)"
            " SELECT key, path, ? FROM library_paths WHERE key IN (SELECT library_key FROM files)",
            (now(),),
        )
        # Of two paths that one is right below which its files lie.
        for key, path, other in self._new.execute(
            "SELECT key, libraries.path, library_paths.path FROM libraries JOIN library_paths USING (key)"
            " WHERE libraries.path IS NOT library_paths.path"
        ).fetchall():
            folders = [
                row[0] for row in self._new.execute("SELECT DISTINCT folder FROM files WHERE library_key = ?", (key,))
            ]
            if _within(folders, other) > _within(folders, path):
                self._new.execute("UPDATE OR IGNORE libraries SET path = ? WHERE key = ?", (other, key))

    def _bring_back_models(self) -> None:
        # Its measures are those of the model itself, which a repair asks.
        self._new.execute(
            "INSERT OR IGNORE INTO models (key, name, fingerprint, dimensions, logit_scale, added_at)"
            " SELECT key, name, fingerprint, (SELECT length(vector) / 2 FROM embeddings WHERE model_key ="
            " model_names.key GROUP BY length(vector) ORDER BY count(*) DESC LIMIT 1), 0, ? FROM model_names"
            " WHERE key IN (SELECT model_key FROM embeddings)",
            (now(),),
        )

    def _bring_back_photos(self) -> list[int]:
        # Its measures are read from its file again.
        self._new.execute(
            "INSERT OR IGNORE INTO photos (key, id, width, height, format, bytes, sort_at, added_at)"
            " SELECT key, id, 0, 0, '', 0, ?, ? FROM photo_ids"
            " WHERE key > 0 AND key NOT IN (SELECT key FROM photos) AND key IN (SELECT photo_key FROM files)",
            (now()[:19], now()),
        )
        self._new.execute(
            "INSERT INTO photos (key, id, width, height, format, bytes, sort_at, added_at)"
            f" SELECT DISTINCT photo_key, '{UNKNOWN}' || photo_key, 0, 0, '', 0, ?, ? FROM files"
            " WHERE photo_key > 0 AND photo_key NOT IN (SELECT key FROM photos)",
            (now()[:19], now()),
        )
        rows = self._new.execute("SELECT key FROM photos JOIN photo_ids USING (key) WHERE photos.id <> photo_ids.id")
        return [row[0] for row in rows]

    def _bring_back_what_was_said(self) -> None:
        """Captions that are lost or have broken letters, from the words; other stages go over their photos again."""
        for author, column in ((PERSON, "own"), (self._captioner(), "caption")):
            if author:
                self._new.execute(
                    "INSERT OR REPLACE INTO captions (photo_key, author, text, written_at)"
                    f" SELECT key, ?, {column}, ? FROM said WHERE {column} <> '' AND key IN (SELECT key FROM photos)"
                    " AND NOT EXISTS (SELECT 1 FROM captions WHERE photo_key = said.key AND author"
                    f" {'=' if author == PERSON else '<>'} '{PERSON}' AND text NOT LIKE '%\ufffd%')",
                    (author, now()),
                )
        for stage, column, table in (
            (CAPTIONS, "caption", "captions"),
            (TAGS, "tags", "tags"),
            (TEXT, "text", "texts"),
        ):
            self._new.execute(
                "DELETE FROM descriptions WHERE stage = ? AND failure IS NULL"
                f" AND photo_key IN (SELECT key FROM said WHERE {column} <> '')"
                f" AND photo_key NOT IN (SELECT photo_key FROM {table})",
                (stage,),
            )

    def _captioner(self) -> str | None:
        row = self._new.execute("SELECT value FROM settings WHERE name = 'captions_author'").fetchone()
        return row[0] if row else None

    def _keep_numbers(self, values: Sequence[tuple[Value, ...]]) -> None:
        """No number may be given twice: what is kept elsewhere under it would be taken for another's."""
        for name, number in values:
            if isinstance(number, int) and 0 <= number < 2**48:
                self._new.execute("DELETE FROM sqlite_sequence WHERE name = ? AND seq < ?", (name, number))
                self._new.execute(
                    "INSERT INTO sqlite_sequence (name, seq) SELECT ?, ? WHERE NOT EXISTS"
                    " (SELECT 1 FROM sqlite_sequence WHERE name = ?)",
                    (name, number, name),
                )

    def _one(self, sql: str) -> int:
        return int(self._new.execute(sql).fetchone()[0])


def _within(folders: Sequence[object], root: object) -> int:
    return sum(isinstance(folder, bytes) and isinstance(root, bytes) and is_within(folder, root) for folder in folders)

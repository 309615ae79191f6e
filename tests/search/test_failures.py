"""Pages of failures: files, then photos, none twice and none left out."""

from __future__ import annotations

from contextlib import closing

import pytest

from search.catalog import failures, settings
from search.catalog.connection import connect_to_write
from search.home import Home

FILES, PHOTOS = 5, 4


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_pages_are_the_whole_list_cut(home: Home, limit: int) -> None:
    with closing(connect_to_write(home)) as connection:
        connection.execute("INSERT INTO libraries (key, path, added_at) VALUES (1, x'2f70', '')")
        connection.executemany(
            "INSERT INTO files (folder, name, library_key, size, mtime_ns, failure) VALUES (?, ?, 1, 1, 1, 'torn')",
            [(b"/p", b"%d.jpg" % number) for number in reversed(range(FILES))],
        )
        for number in range(PHOTOS + 2):
            connection.execute(
                "INSERT INTO photos (key, id, width, height, format, bytes, sort_at, added_at)"
                " VALUES (?, ?, 1, 1, 'JPEG', 1, '', '')",
                (number, str(number)),
            )
            # One of another captioner, and one whose files are gone, are no failures.
            author = "another" if number == PHOTOS else "x"
            connection.execute(
                "INSERT INTO descriptions (photo_key, stage, author, written_at, failure)"
                " VALUES (?, 'captions', ?, '', 'silent')",
                (number, author),
            )
            if number <= PHOTOS:
                connection.executemany(
                    "INSERT INTO files (folder, name, photo_key, library_key, size, mtime_ns)"
                    " VALUES (?, ?, ?, 1, 1, 1)",
                    [(b"/q", b"%d.jpg" % number, number), (b"/copies", b"%d.jpg" % number, number)],
                )
        settings.put(connection, "captions_author", "x")
        whole = failures.page(connection)
        assert [one["path"] for one in whole] == [f"/p/{n}.jpg" for n in range(FILES)] + [
            f"/q/{n}.jpg" for n in range(PHOTOS)
        ]
        assert [one["stage"] for one in whole] == ["read"] * FILES + ["captions"] * PHOTOS
        assert failures.count(connection) == len(whole)
        pages = [failures.page(connection, limit, offset) for offset in range(0, len(whole) + limit, limit)]
        assert [one for page in pages for one in page] == whole and pages[-1] == []
        settings.put(connection, "captions", "off")
        assert failures.count(connection) == len(failures.page(connection)) == FILES

"""Where photo files lie: on disks (`local`), or in an object storage (`remote`); told apart by their paths.

from indexer.storage import storage_of

with storage_of(b"s3://bucket/beach.jpg").opened(b"s3://bucket/beach.jpg") as (stream, status):
    head = stream.read(64)

A path is bytes everywhere. One that begins with a protocol, such as `s3://`, is of an object storage, whatever the
operating system; no absolute path of a disk does. The rest of the indexer does not know the difference.
"""

from __future__ import annotations

from indexer.storage.local import LOCAL
from indexer.storage.protocol import Storage
from search.catalog import paths


def storage_of(path: bytes) -> Storage:
    """What is asked of the file or folder at `path`."""
    if paths.is_remote(path):
        from indexer.storage.remote import REMOTE  # here, since it brings fsspec along

        return REMOTE
    return LOCAL

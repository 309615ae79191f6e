"""Where photos are read and embedded: on this machine (`local`), or by the workers of a Ray cluster (`ray`).

An executor is given files and gives them back with their embeddings, in groups and in any order; it writes nothing.
Whoever asked it, the one writer of the home, commits them (`indexer.record`). A commit is by photo and by path, so that
what an executor does twice is kept once.

`shards` is what travels between the processes of `ray`: `ray_driver` is the one that talks with the cluster, and
`ray_worker` what runs in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from indexer.report import IndexOptions


def check(options: IndexOptions) -> None:
    """Make sure, within seconds, that the executor of the options can be had.

    Raises:
        ExecutorError: it cannot.
    """
    if options.executor == "ray":
        from indexer.executors.ray import check as check_ray

        check_ray()

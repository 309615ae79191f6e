"""Fixtures that every kind of test shares."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faiss  # noqa: F401  tests in one process find one way to search few vectors, whichever of them is first
import pytest
from faults.base import Base, make_base
from milvus_lite_server import MilvusLite
from support import save_checkpoint

from indexer.decoding.decoders import Decoders
from indexer.demo import gather_samples
from search.home import Home
from search.models import encoder, hub
from search.models.names import AUTO, resolve

# What is made of models and of the project's sentences is made once for all tests and all processes that run them, and
# none of it in the user's own cache. Those that pytest-xdist starts find the variable set.
if "PYTEST_XDIST_WORKER" not in os.environ:
    _CACHE = tempfile.TemporaryDirectory(prefix="sightline-tests-")
    os.environ["SIGHTLINE_CACHE"] = _CACHE.name

_loaded: dict[object, encoder.Encoder] = {}
FLICKR = Path(__file__).resolve().parents[2] / "shared" / "flickr8k-dev"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home that does not exist yet."""
    return Home(tmp_path / "home")


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A folder with the sample photos of installed packages."""
    folder = tmp_path / "library"
    gather_samples(folder)
    return folder


@pytest.fixture(scope="session")
def decoders() -> Iterator[Decoders]:
    """Two processes that decode, shared by all tests that do not end them."""
    with Decoders.of_process(2) as decoders:
        yield decoders


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Base:
    """A home with all that one may hold, over three dozen small pictures; for copies that are damaged."""
    with pytest.MonkeyPatch.context() as patch:
        load_once(patch)  # its answers are compared with those of the model that tests have loaded already
        return make_base(tmp_path_factory.mktemp("sound"), 36)


@pytest.fixture
def copy(sound: Base, home: Home) -> Home:
    """A home of one's own that is as `sound`."""
    shutil.copytree(sound.home.path, home.path)
    return home


@pytest.fixture
def loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model stays loaded between the runs and engines of tests, for as long as its files are the same: loading it
    takes half a second."""
    load_once(monkeypatch)


def load_once(patch: pytest.MonkeyPatch) -> None:
    """See `loaded_once`."""
    load = encoder.load_encoder

    def loaded(name: str, **options: Any) -> encoder.Encoder:
        files = hub.files_of(resolve(name)) if name != AUTO else None
        if files is None:
            return load(name, **options)
        identity = (name, *sorted(options.items()), *files)
        if identity not in _loaded:
            while len(_loaded) >= 8:
                _loaded.pop(next(iter(_loaded)))
            _loaded[identity] = load(name, **options)
        return _loaded[identity]

    patch.setattr(encoder, "load_encoder", loaded)


@pytest.fixture(scope="session")
def flickr() -> Path:
    """Flickr8k's dev photos with captions, where they are at hand."""
    if not FLICKR.is_dir():
        pytest.skip("flickr8k-dev is not here")
    return FLICKR


@pytest.fixture(scope="session")
def milvus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusLite]:
    """A Milvus for all tests of this process: the server of milvus-lite, a process of its own."""
    pytest.importorskip("milvus_lite", reason="milvus-lite is not here; `make test` installs it")
    with MilvusLite(tmp_path_factory.mktemp("milvus")) as server:
        yield server


@pytest.fixture
def tiny_checkpoint(tmp_path: Path) -> Callable[..., str]:
    """Makes a checkpoint with random weights, always at the same place; returns its name."""
    return lambda seed=0: save_checkpoint(tmp_path / "checkpoint", seed=seed)

"""Errors whose text is a sentence for the person at the keyboard: what is wrong, and what to do next."""


class SightlineError(Exception):
    """Base of every error that Sightline raises on purpose; `str(error)` may be shown to a user as it is."""


class ModelError(SightlineError):
    """A model cannot be named, found, loaded or used with this index."""


class GpuError(ModelError):
    """A GPU failed, with which this process can do nothing any more; another one may."""


class CatalogError(SightlineError):
    """The catalog cannot be used."""


class MissingCatalogError(CatalogError):
    """There is no catalog yet."""


class DamagedError(CatalogError):
    """The catalog is damaged."""


class VersionError(CatalogError):
    """The catalog was written by a newer Sightline, or by an older one and not brought up to date yet."""


class SettingsError(SightlineError):
    """An environment variable has a value that cannot be."""


class LockedError(SightlineError):
    """Another process is writing to this home."""


class PhotoError(SightlineError):
    """One photo cannot be read; the sentence says why, without its path."""


class PhotoForNowError(PhotoError):
    """It could not be read this time, which need not be its own fault: another try may succeed."""


class PhotoMemoryError(PhotoForNowError):
    """There is not enough memory for it just now."""


class FileChangedError(PhotoError):
    """Its file was written to while it was read: what was read may be neither what it was nor what it is."""


class DecodingError(SightlineError):
    """The processes that decode photos cannot be started, or were ended; no photo is at fault."""


class ExecutorError(SightlineError):
    """The cluster that was to embed photos is not to be had, or was lost; no photo is at fault."""


class QueryError(SightlineError):
    """A search cannot be answered as it was asked."""


class UnknownPhotoError(QueryError):
    """No photo of the index has the id that was asked for."""


class MilvusError(SightlineError):
    """Milvus refuses what was asked of it, or holds nothing to answer from."""


class NoCollectionError(MilvusError):
    """There is no collection of that name yet."""


class UnreachableError(MilvusError):
    """Milvus does not answer."""


class DeniedError(MilvusError):
    """Milvus does not let this program in, or not do that."""


class NotHereError(SightlineError):
    """What is asked for needs the catalog, which a node that answers from Milvus has not got."""

    def __init__(self) -> None:
        super().__init__(
            "This server answers from Milvus and keeps nothing of its own; do that on the machine where the photos are "
            "indexed."
        )

"""What Milvus holds of the photos, where the home keeps its vectors there: whether it is what the catalog says."""

from __future__ import annotations

from collections.abc import Iterator

from indexer.verify.findings import Finding, Mending, View, are, several
from search.catalog import model_records
from search.catalog.model_records import ModelRecord
from search.errors import MilvusError, SettingsError
from search.milvus import home_address, sync
from search.milvus.address import LOCAL, Address
from search.milvus.publishing import publish


def look(view: View) -> Iterator[Finding]:
    """Photos that are not in the collection, or otherwise, and what is in it that no photo is."""
    try:
        address = home_address.remembered(view.connection)
    except SettingsError as error:
        yield Finding("collection", str(error), _forget, about="address")
        return
    model = model_records.active(view.connection)
    if address is None or model is None or view.is_busy():
        return  # a run that is at work changes both
    view.progress.stage("collection", None)
    try:
        lacking, superfluous = sync.differences(view.connection, model, address)
    except MilvusError as error:
        yield Finding("collection", f"What Milvus holds could not be checked: {error}", about="unreachable")
        return
    view.checked["collections"] += 1
    if lacking or superfluous:
        found = [f"{several(lacking, 'photo')} {are(lacking)} not as the catalog says"] if lacking else []
        found += [f"{several(superfluous, 'photo')} {are(superfluous)} not in the catalog"] if superfluous else []
        yield Finding(
            "collection",
            f"Of what Milvus holds at {address}, {' and '.join(found)}.",
            lambda mending: _mend(mending, model, address),
            about="content",
        )


def _mend(mending: Mending, model: ModelRecord, address: Address) -> None:
    mending.progress.stage("publish", None)
    publish(mending.home, mending.connection, model, address, thoroughly=True)


def _forget(mending: Mending) -> None:
    with mending.transaction():
        home_address.remember(mending.connection, LOCAL)

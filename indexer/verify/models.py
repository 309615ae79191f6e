"""A model's row, written anew from the model itself."""

from __future__ import annotations

from indexer.verify.findings import Mending
from search.catalog.soundness import Unsound
from search.errors import ModelError


def measure_again(mending: Mending, wrong: Unsound) -> None:
    """Load the models whose rows are wrong, where they are on this machine, and write down what they say."""
    from search.models.encoder import load_encoder

    rows = mending.connection.execute(f"SELECT key, name, fingerprint FROM models WHERE {wrong.where}").fetchall()
    for key, name, fingerprint in rows:
        mending.progress.stage("load", None)
        try:
            encoder = load_encoder(name, allow_download=False)
        except ModelError as error:
            mending.progress.say(str(error))
            continue
        if encoder.fingerprint == fingerprint:
            with mending.transaction():
                mending.connection.execute(
                    "UPDATE models SET dimensions = ?, logit_scale = ?, logit_bias = ? WHERE key = ?",
                    (encoder.dim, encoder.logit_scale, encoder.logit_bias, key),
                )

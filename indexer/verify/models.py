"""A model's row, written anew from the model itself."""

from __future__ import annotations

from indexer.verify.findings import Mending
from search.catalog import model_records
from search.catalog.soundness import Unsound
from search.errors import ModelError


def measure_again(mending: Mending, wrong: Unsound) -> None:
    """Load the models whose rows are wrong, where they are on this machine, and write down what they say."""
    from search.models.encoder import load_encoder

    for model in model_records.every(mending.connection, wrong.where):
        mending.progress.stage("load", None)
        try:
            encoder = load_encoder(model.name, allow_download=False)
        except ModelError as error:
            mending.progress.say(str(error))
            continue
        if model.is_made_with(encoder.fingerprint, encoder.preprocess.fingerprint):
            with mending.transaction():
                mending.connection.execute(
                    "UPDATE models SET dimensions = ?, logit_scale = ?, logit_bias = ? WHERE key = ?",
                    (encoder.dim, encoder.logit_scale, encoder.logit_bias, model.key),
                )

"""The weights and constants of ranking, as settings that environment variables change.

Each field is read from `SIGHTLINE_RANKING_` and its name in capitals; docs/settings.md lists them, docs/ranking.md has
the measurements behind the defaults.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from search.environment import EnvironmentSettings

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Spreads = Annotated[float, Field(allow_inf_nan=False)]


class RankingSettings(EnvironmentSettings):
    """How signals are weighed, where an answer ends, and what counts as one moment.

    Attributes:
        meaning_weight, image_weight, literal_weight, all_words_weight, some_words_weight: what each kind of list counts
            in the fusion; `literal` are words that people or cameras wrote, no captioner.
        same_score: so many spreads apart, two scores by meaning say nearly the same.
        fusion_constant: how slowly a list's ranks lose weight in the fusion.
        present: up to so many spreads below the best photo of a typical sentence, a text's best photo still shows what
            it says.
        floor: so many spreads below it are photos that have nothing to do with a text.
        hub_weight: how much of a photo's level is taken from its similarities.
        hub_sentences: of how many sentences, the nearest of the bank, a photo's level is the mean.
        negative_weight: how much of an unwanted text's embedding is taken away from the wanted one's.
        moment_minutes: how far apart photos of one moment are taken at most.
        moment_distance: how far apart the embeddings of such photos are at most, as a part of the library's own
            `Snapshot.pair_distance`.
        copy_distance: the same where one of two photos has no date.
    """

    kind: ClassVar[str] = "ranking"
    prefix: ClassVar[str] = "SIGHTLINE_RANKING_"

    meaning_weight: Weight = 1.0
    image_weight: Weight = 1.0
    literal_weight: Weight = 1.0
    all_words_weight: Weight = 0.5
    some_words_weight: Weight = 0.07
    same_score: Weight = 0.3
    fusion_constant: Weight = 10.0
    present: Spreads = 0.65
    floor: Spreads = 2.3
    hub_weight: Weight = 0.05
    hub_sentences: Annotated[int, Field(ge=1)] = 32
    negative_weight: Weight = 0.5
    moment_minutes: Weight = 5.0
    moment_distance: Weight = 0.2
    copy_distance: Weight = 0.03

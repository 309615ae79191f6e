"""The weights and constants of ranking come from the environment, or are what was measured."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from search.errors import SettingsError
from search.ranking_settings import PREFIX, RankingSettings


def test_a_variable_sets_what_it_names_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}FUSION_CONSTANT", "60")
    monkeypatch.setenv(f"{PREFIX}FLOOR", "")  # as if it were not there
    assert RankingSettings.read() == RankingSettings(fusion_constant=60)
    assert RankingSettings.read().floor == RankingSettings.model_fields["floor"].default


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("FLOOR", "low", "SIGHTLINE_RANKING_FLOOR cannot be “low”: it should be a valid number"),
        ("FLOOR", "nan", "SIGHTLINE_RANKING_FLOOR cannot be “nan”: it should be a finite number"),
        (
            "HUB_SENTENCES",
            "0",
            "SIGHTLINE_RANKING_HUB_SENTENCES cannot be “0”: it should be greater than or equal to 1",
        ),
        ("MEANING_WEIGHT", "-1", "it should be greater than or equal to 0"),
        ("FLOR", "2", "There is no ranking setting SIGHTLINE_RANKING_FLOR; docs/settings.md lists those there are."),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(f"{PREFIX}{name}", value)
    with pytest.raises(SettingsError, match=re.escape(sentence)) as caught:
        RankingSettings.read()
    assert "\n" not in str(caught.value)


def test_they_never_change() -> None:
    with pytest.raises(ValidationError):
        RankingSettings().floor = 1.0  # type: ignore[misc]


def test_a_folder_s_own_files_set_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text(f"{PREFIX}FLOOR=9\n")
    monkeypatch.chdir(tmp_path)
    assert RankingSettings.read() == RankingSettings()

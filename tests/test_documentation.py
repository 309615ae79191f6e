"""The documentation names every command, option and environment variable, and its links lead somewhere."""

import re
from pathlib import Path

import pytest
import typer.main

import sightline
import training.__main__
from benchmarks import scale
from indexer.decoding.settings import DecodingSettings
from search.ranking_settings import RankingSettings

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "docker" / "README.md"]
COMMANDS = typer.main.get_command(sightline.app).commands  # type: ignore[attr-defined]
OPTIONS = [
    (name, option)
    for name, command in COMMANDS.items()
    for parameter in command.params
    for option in (*parameter.opts, *parameter.secondary_opts)
    if option.startswith("-") and option != "--help"
]

STAGES = typer.main.get_command(training.__main__.app).commands  # type: ignore[attr-defined]


def section(command: str) -> str:
    """What docs/cli.md says below the command's heading."""
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    found = re.search(rf"^## sightline {re.escape(command)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"docs/cli.md has no heading “## sightline {command}”"
    return found[1]


def named(text: str) -> set[str]:
    """The options that stand in code spans of `text`."""
    return {
        option for span in re.findall(r"`([^`\n]+)`", text) for option in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", span)
    }


def sources() -> list[Path]:
    return [
        ROOT / "sightline.py",
        *(path for folder in ("web", "indexer", "search") for path in (ROOT / folder).rglob("*.py")),
    ]


def links(page: Path) -> list[str]:
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"\]\(([^()\s]+)\)", prose) + re.findall(r"<img[^>]*\ssrc=\"([^\"]+)\"", prose)
    return [link for link in found if not re.match(r"[a-z][a-z0-9+.-]*:", link)]


def anchors(page: Path) -> set[str]:
    """The anchors that headings get, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_its_section(command: str) -> None:
    assert section(command).strip()


@pytest.mark.parametrize(("command", "option"), OPTIONS)
def test_every_option_is_in_its_commands_section(command: str, option: str) -> None:
    assert option in named(section(command))


@pytest.mark.parametrize("command", COMMANDS)
def test_no_table_names_an_option_that_the_command_lacks(command: str) -> None:
    first_cells = "\n".join(re.findall(r"^\| (`-[^|]*) \|", section(command).partition("\n### ")[0], re.MULTILINE))
    assert named(first_cells) <= {option for owner, option in OPTIONS if owner == command}


def test_every_environment_variable_is_documented() -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    # By name, and whatever else is read from the environment by a literal name.
    patterns = (
        r"\b(?:SIGHTLINE|HF|TRANSFORMERS)_[A-Z][A-Z_]*\b",
        r"(?:environ(?:\.get|\.setdefault)?|getenv)[\[(]\s*\"(\w+)\"",
    )
    texts = [path.read_text(encoding="utf-8") for path in sources()]
    read = {name for text in texts for pattern in patterns for name in re.findall(pattern, text)}
    assert {"SIGHTLINE_HOME", "SIGHTLINE_TOKEN"} <= read
    assert {name for name in read if f"`{name}`" not in page} == set()


@pytest.mark.parametrize("name", RankingSettings.model_fields)
def test_every_setting_of_ranking_is_documented_with_its_default(name: str) -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| `{RankingSettings.prefix}{name.upper()}` \|.*\| ([\d.]+) \|$", page, re.MULTILINE)
    assert row, f"docs/settings.md has no row for {RankingSettings.prefix}{name.upper()}"
    assert float(row[1]) == RankingSettings.model_fields[name].default


@pytest.mark.parametrize("name", DecodingSettings.model_fields)
def test_every_setting_of_decoding_is_documented(name: str) -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| `{DecodingSettings.prefix}{name.upper()}` \|.*\| (.+) \|$", page, re.MULTILINE)
    assert row, f"docs/settings.md has no row for {DecodingSettings.prefix}{name.upper()}"
    default = DecodingSettings.model_fields[name].default
    assert default is None or float(row[1]) == default


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    lost = []
    for link in links(page):
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []


def test_the_page_on_large_libraries_has_the_tables_of_its_command() -> None:
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    for table in (scale.work(0.04), scale.machines(32), scale.storage(0.08, 128)):
        assert table in page


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_of_training_and_its_options_are_documented(stage: str) -> None:
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| `{stage}` \|.*$", page, re.MULTILINE)
    assert row, f"docs/training.md has no row for the stage {stage}"
    # What all stages share stands above their table.
    known = named(row[0]) | named(page[page.index("## Stages") : row.start()].partition("\n| ")[0])
    asked = {option for parameter in STAGES[stage].params for option in parameter.opts}
    assert asked <= known

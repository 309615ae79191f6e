"""What can be told of the images and the compose file without a Docker engine."""

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from sightline import app

ROOT = Path(__file__).parent.parent
DOCKERFILES = [ROOT / "docker" / "Dockerfile", ROOT / "docker" / "Dockerfile.gpu"]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """(instruction, arguments), comments left out and continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", dockerfile.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = [line.strip() for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    return [(line.split(None, 1)[0].upper(), line.split(None, 1)[1]) for line in lines]


def last_stage(dockerfile: Path) -> dict[str, str]:
    """The last of each instruction in the stage that becomes the image."""
    found = instructions(dockerfile)
    start = max(i for i, (instruction, _) in enumerate(found) if instruction == "FROM")
    return dict(found[start:])


def has_fixed_tag(image: str) -> bool:
    tag = image.rpartition("/")[2].partition(":")[2]
    return bool(re.match(r"\d+\.\d+", tag))


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
class TestDockerfiles:
    def test_bases_have_fixed_tags(self, dockerfile: Path) -> None:
        bases = [arguments.split()[0] for instruction, arguments in instructions(dockerfile) if instruction == "FROM"]
        assert bases
        assert [base for base in bases if not has_fixed_tag(base)] == []

    def test_runs_as_an_ordinary_user(self, dockerfile: Path) -> None:
        assert last_stage(dockerfile)["USER"] == "1000:1000"

    def test_asks_the_server_for_its_health(self, dockerfile: Path) -> None:
        assert "/healthz" in last_stage(dockerfile)["HEALTHCHECK"]

    def test_keeps_the_home_in_a_volume_of_that_user(self, dockerfile: Path) -> None:
        stage = last_stage(dockerfile)
        assert stage["VOLUME"] == "/data"
        assert "SIGHTLINE_HOME=/data" in stage["ENV"]
        assert "--owner=sightline" in stage["RUN"]

    def test_serves_by_default(self, dockerfile: Path) -> None:
        stage = last_stage(dockerfile)
        assert stage["ENTRYPOINT"] == '["sightline"]'
        assert stage["CMD"].startswith('["serve"')


@pytest.mark.parametrize("name", SERVICES)
class TestServices:
    def test_has_a_fixed_tag_that_is_this_version(self, name: str) -> None:
        version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
        assert SERVICES[name]["image"].removesuffix("-gpu") == f"sightline:{version}"

    def test_builds_from_a_file_that_is_there(self, name: str) -> None:
        build = SERVICES[name]["build"]
        context = (ROOT / "docker" / build["context"]).resolve()
        assert context == ROOT.resolve()
        assert (context / build["dockerfile"]).is_file()

    def test_runs_as_an_ordinary_user_without_rights(self, name: str) -> None:
        service = SERVICES[name]
        assert service["user"] == "1000:1000"
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"] is True

    def test_cannot_write_to_the_photos(self, name: str) -> None:
        mounts = {volume["target"]: volume for volume in SERVICES[name]["volumes"]}
        assert mounts["/photos"]["read_only"] is True
        assert mounts["/data"]["source"] in COMPOSE["volumes"]


def test_server_has_a_health_check() -> None:
    assert "/healthz" in " ".join(SERVICES["server"]["healthcheck"]["test"])


def test_server_is_published_on_this_machine_alone() -> None:
    assert SERVICES["server"]["ports"] == ["127.0.0.1:8000:8000"]


@pytest.mark.parametrize("name", ["follow", "follow-gpu"])
def test_photos_are_followed(name: str) -> None:
    command = SERVICES[name]["command"]
    assert command == ["index", "/photos", "--watch", "--every", "${EVERY:-6h}"]
    options = [word for word in command if word.startswith("--")]
    told = CliRunner().invoke(app, ["index", "--help"]).output
    assert all(option in told for option in options)


def test_only_the_gpu_profile_asks_for_a_gpu() -> None:
    asking = {name for name, service in SERVICES.items() if "deploy" in service}
    assert (
        asking == {name for name, service in SERVICES.items() if service.get("profiles") == ["gpu"]} == {"follow-gpu"}
    )


def test_the_build_context_holds_what_the_wheel_needs() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = [line[1:] for line in lines if line.startswith("!")]
    assert "*" in lines
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = ["pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]]
    needed += wheel["only-include"]
    assert [name for name in needed if not any(fnmatch(name, pattern) for pattern in let_in)] == []

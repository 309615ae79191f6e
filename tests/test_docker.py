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


def read(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "docker" / name).read_text(encoding="utf-8")))


COMPOSE, GPU, SCALE = read("compose.yaml"), read("compose.gpu.yaml"), read("compose.scale.yaml")
# What runs Sightline; the others are images of their own makers.
SERVICES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    **{name: (COMPOSE, service) for name, service in COMPOSE["services"].items()},
    "follow on a GPU": (COMPOSE, {**COMPOSE["services"]["follow"], **GPU["services"]["follow"]}),
    **{
        f"{name} of many": (SCALE, service)
        for name, service in SCALE["services"].items()
        if service["image"].startswith("sightline:")
    },
}


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
        image = SERVICES[name][1]["image"]
        assert image.removesuffix("-gpu").removesuffix("-scale") == f"sightline:{version}"

    def test_builds_from_a_file_that_is_there(self, name: str) -> None:
        build = SERVICES[name][1]["build"]
        context = (ROOT / "docker" / build["context"]).resolve()
        assert context == ROOT.resolve()
        assert (context / build["dockerfile"]).is_file()
        given = {name for kind, name in instructions(context / build["dockerfile"]) if kind == "ARG"}
        assert set(build.get("args", {})) <= {name.partition("=")[0] for name in given}

    def test_runs_as_an_ordinary_user_without_rights(self, name: str) -> None:
        service = SERVICES[name][1]
        assert service["user"] == "1000:1000"
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"] is True
        assert "no-new-privileges:true" in service["security_opt"]

    def test_cannot_write_to_the_photos(self, name: str) -> None:
        file, service = SERVICES[name]
        mounts = {volume["target"]: volume for volume in service["volumes"]}
        assert mounts["/photos"]["read_only"] is True
        assert mounts["/data"]["type"] == "volume"
        assert mounts["/data"].get("source") in {*file["volumes"], None}

    def test_is_asked_by_commands_that_there_are(self, name: str) -> None:
        service = SERVICES[name][1]
        words = " ".join(service["command"]).split()
        if service.get("entrypoint") == ["sh", "-c"]:
            if "sightline" not in words:
                return
            words = words[words.index("sightline") + 1 :]
        told = CliRunner().invoke(app, [words[0], "--help"]).output
        assert [word for word in words if word.startswith("--") and word not in told] == []


def test_servers_have_a_health_check() -> None:
    assert "/healthz" in " ".join(COMPOSE["services"]["server"]["healthcheck"]["test"])
    assert "healthcheck" not in SCALE["services"]["node"]  # that of the image
    assert all("test" in SCALE["services"][name]["healthcheck"] for name in ("milvus", "proxy"))


@pytest.mark.parametrize("file", [COMPOSE, SCALE], ids=["one", "many"])
def test_one_port_is_published_on_this_machine_alone(file: dict[str, Any]) -> None:
    ports = [port for service in file["services"].values() for port in service.get("ports", ())]
    assert len(ports) == 1 and ports[0].startswith("127.0.0.1:8000:")


def test_photos_are_followed() -> None:
    assert COMPOSE["services"]["follow"]["command"] == ["index", "/photos", "--watch", "--every", "${EVERY:-6h}"]
    assert SCALE["services"]["index"]["command"][0].endswith("--watch --every ${EVERY:-6h}")


def test_only_the_file_for_gpus_asks_for_a_gpu() -> None:
    asking = [name for name, service in COMPOSE["services"].items() if "deploy" in service]
    assert not asking and list(GPU["services"]) == ["follow"]
    devices = GPU["services"]["follow"]["deploy"]["resources"]["reservations"]["devices"]
    assert [device["driver"] for device in devices] == ["nvidia"]


class TestMany:
    def test_images_of_others_have_fixed_tags(self) -> None:
        images = [service["image"] for service in SCALE["services"].values()]
        assert [image for image in images if not re.search(r":v?\d+\.\d+", image)] == []

    def test_there_are_several_nodes_and_workers(self) -> None:
        assert SCALE["services"]["node"]["deploy"]["replicas"] == "${NODES:-2}"
        assert SCALE["services"]["worker"]["deploy"]["replicas"] == "${WORKERS:-2}"

    def test_one_service_alone_writes_the_catalog(self) -> None:
        keeping = [
            name
            for name, service in SCALE["services"].items()
            if any(volume.get("source") == "home" for volume in service.get("volumes", ()))
        ]
        assert keeping == ["index"]

    def test_nodes_and_index_name_the_same_collection(self) -> None:
        named = {
            re.search(r"--vectors (\S+)", " ".join(SCALE["services"][name]["command"])).group(1)  # type: ignore[union-attr]
            for name in ("index", "node")
        }
        assert named == {"milvus:http://milvus:19530"}

    def test_the_proxy_is_apart_from_ray_and_milvus(self) -> None:
        networks = {name: set(service["networks"]) for name, service in SCALE["services"].items()}
        assert networks["proxy"] == {"web"} and "ray" not in networks["node"]
        assert set().union(*networks.values()) == set(SCALE["networks"])

    def test_ray_asks_for_a_token(self) -> None:
        for name in ("index", "worker"):
            environment = SCALE["services"][name]["environment"]
            assert environment["RAY_AUTH_MODE"] == "token" and environment["RAY_AUTH_TOKEN"].startswith(
                "${RAY_AUTH_TOKEN:?"
            )

    def test_the_proxy_asks_the_nodes(self) -> None:
        said = (ROOT / "docker" / "nginx.conf").read_text(encoding="utf-8")
        assert "http://node:8000;" in said and "listen 8080;" in said
        assert SCALE["services"]["proxy"]["ports"] == ["127.0.0.1:8000:8080"]


def test_the_build_context_holds_what_the_wheel_needs() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = [line[1:] for line in lines if line.startswith("!")]
    assert "*" in lines
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = ["pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]]
    needed += wheel["only-include"]
    assert [name for name in needed if not any(fnmatch(name, pattern) for pattern in let_in)] == []

"""The floors of the house: imports only go down, heavy libraries wait until they are needed, files stay small."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# From the ground up: a module may import from its own floor and from those before it in this list.
FLOORS = ["search", "indexer", "web", "sightline"]
OURS = {*FLOORS, "training", "benchmarks", "tests"}
MODULES = sorted([ROOT / "sightline.py", *(path for floor in FLOORS[:-1] for path in (ROOT / floor).rglob("*.py"))])
HEAVY = ["torch", "open_clip", "faiss", "numpy", "ray", "pyarrow", "fsspec"]
MAX_LINES = 400


def name_of(module: Path) -> str:
    return str(module.relative_to(ROOT))


def imported(module: Path) -> set[str]:
    """The top-level packages that a module imports anywhere, inside functions too."""
    found: set[str] = set()
    package = module.relative_to(ROOT).parts[0].removesuffix(".py")
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add(package if node.level else (node.module or "").partition(".")[0])
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("importlib.import_module", "__import__"):
            argument = node.args[0] if node.args else None
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                found.add(argument.value.partition(".")[0])
    return found


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_imports_only_go_down(module: Path) -> None:
    floor = module.relative_to(ROOT).parts[0].removesuffix(".py")
    below = set(FLOORS[: FLOORS.index(floor) + 1])
    assert imported(module) & OURS <= below


def test_every_floor_has_modules() -> None:
    assert {module.relative_to(ROOT).parts[0].removesuffix(".py") for module in MODULES} == set(FLOORS)


@pytest.mark.parametrize("arguments", [["--help"], ["index", "--help"], ["search", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys, sightline\n"
        f"sys.argv = ['sightline', *{arguments!r}]\n"
        "try:\n"
        "    sightline.main()\n"
        "finally:\n"
        f"    print(*({HEAVY!r} & sys.modules.keys()), file=sys.stderr)\n"
    ).replace(repr(HEAVY), repr(set(HEAVY)))
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert done.stderr.split() == []


@pytest.mark.parametrize("module", [module for module in MODULES if module.parent != ROOT], ids=name_of)
def test_files_stay_small(module: Path) -> None:
    assert len(module.read_text(encoding="utf-8").splitlines()) <= MAX_LINES

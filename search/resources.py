"""What ships with Sightline: its version, and its files, beside the packages in a checkout and inside
`sightline_data` in a wheel.
"""

from __future__ import annotations

from pathlib import Path

from search.errors import SightlineError


def version() -> str:
    """Sightline's version, or `unknown` where it runs from a folder without having been installed."""
    from importlib import metadata

    try:
        return metadata.version("sightline")
    except metadata.PackageNotFoundError:
        return "unknown"


def data_path(relative: str) -> Path:
    """The file or folder that `relative` (such as `"models/starter"`) names among the shipped data.

    Raises:
        SightlineError: it is not there, which means that the installation is incomplete.
    """
    root = Path(__file__).resolve().parent.parent
    for folder in (root / "sightline_data", root / "data"):
        path = folder / relative
        if path.exists():
            return path
    raise SightlineError(
        f"Sightline's own data “{relative}” is missing from this installation: install Sightline again, "
        "or clone its repository in full."
    )

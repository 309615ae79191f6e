"""What a verification found and did, as one value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from indexer.verify.findings import Finding

if TYPE_CHECKING:
    from indexer.verify.rebuilding import Rebuilt


@dataclass
class Verification:
    """What was checked and found.

    Attributes:
        checked: how many pages, rows, photos and so on were looked at.
        problems: those that were found, mended or not.
        notes: sentences on what is no damage.
        rebuilt: what became of a catalog that was damaged beyond mending in its place.
    """

    checked: dict[str, int] = field(default_factory=dict)
    problems: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rebuilt: Rebuilt | None = None
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong, or nothing any more."""
        return all(problem.mended for problem in self.problems)

    def to_json(self) -> dict[str, Any]:
        """The contract of `sightline verify --json`."""
        rescued = self.rebuilt.rescued if self.rebuilt else None
        kept = self.rebuilt.kept if self.rebuilt else None
        return {
            "checked": self.checked,
            "problems": [problem.to_json() for problem in self.problems],
            "notes": self.notes,
            "kept": None if kept is None else str(kept),
            "saved": rescued.saved if rescued else {},
            "lost": rescued.lost if rescued else {},
            "ok": self.ok,
            "seconds": round(self.seconds, 3),
        }

"""WordNet's nouns: what the class ids of ImageNet are called, and what kinds of things they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Synset:
    """One meaning: its `names` (synonyms, the commonest first) and the ids of what it is a kind of."""

    names: tuple[str, ...]
    kinds: tuple[str, ...]


class WordNet:
    """The nouns of a WordNet 3.0 dictionary folder (Debian's package wordnet-base), by ids such as `n02123045`."""

    def __init__(self, folder: Path) -> None:
        """Read `data.noun`, in the format of WordNet's manual page wndb(5)."""
        lines = (folder / "data.noun").read_text(encoding="utf-8").splitlines()
        self.synsets = dict(_synset(line) for line in lines if not line.startswith("  "))

    def names(self, identifier: str) -> list[str]:
        """The synonyms of a class id, in lower case; empty where the id is not known."""
        synset = self.synsets.get(identifier)
        return [] if synset is None else [name.lower() for name in synset.names]

    def hypernyms(self, identifier: str, levels: int) -> list[str]:
        """One name of each of the next `levels` kinds above it, the nearest first."""
        found = []
        for _ in range(levels):
            synset = self.synsets.get(identifier)
            if synset is None or not synset.kinds:
                break
            identifier = synset.kinds[0]
            found.append(self.synsets[identifier].names[0].lower())
        return found

    def all_names(self) -> Iterator[str]:
        """Every noun once, as it is written in the dictionary."""
        return iter(dict.fromkeys(name for synset in self.synsets.values() for name in synset.names))


def _synset(line: str) -> tuple[str, Synset]:
    fields = line.split(" | ")[0].split()
    words = int(fields[3], 16)
    names = tuple(fields[4 + 2 * i].replace("_", " ") for i in range(words))
    pointers = fields[5 + 2 * words :]
    kinds = tuple(f"n{pointers[i + 1]}" for i in range(0, len(pointers) - 3, 4) if pointers[i] in ("@", "@i"))
    return f"n{fields[0]}", Synset(names, kinds)

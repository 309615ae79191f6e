"""Which photos, texts and teachers a training run uses: a TOML file, checked before anything is read."""

from __future__ import annotations

import csv
import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.errors import SightlineError
from training.wordnet import WordNet

_WORDNET_ID = re.compile(r"n\d{8}")
PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})


class RecipeError(SightlineError):
    """What is wrong with a recipe, a folder or a run, in one sentence."""


@dataclass(frozen=True)
class PhotoSet:
    """Photos of one source.

    `side` is the edge in pixels at which they are kept (squeezed to a square). `labels` says where a photo's class
    stands: `folder` (the folder it lies in), `name` (its file name: a WordNet id, or what comes before the last `_`
    or number), `none`, or in a file of lines `name<TAB>class`. `captions` is a CSV with the columns `image,caption` or
    Karpathy's JSON; `only` is a file that lists the names to use. `share` is how many pictures of a batch come from the
    set, against the other sets' shares. Sets that are `held_out` are never trained on.
    """

    name: str
    folder: Path
    side: int
    share: int = 0
    labels: str | Path = "none"
    captions: Path | None = None
    only: Path | None = None
    held_out: bool = False

    def files(self) -> list[Path]:
        """The set's photos, in the order of their paths."""
        names = None if self.only is None else {line.strip() for line in self.only.read_text("utf-8").splitlines()}
        return sorted(
            path
            for path in self.folder.rglob("*")
            if path.suffix.lower() in PHOTO_SUFFIXES and (names is None or path.name in names)
        )

    def classes(self, files: list[Path]) -> list[str | None]:
        """Each file's class: a WordNet id or plain words; None where it has none."""
        if self.labels == "none":
            return [None] * len(files)
        if self.labels == "folder":
            return [_class_name(path.relative_to(self.folder)) for path in files]
        if self.labels == "name":
            return [_id_or_words(path.stem, cut=r"_[^_]*$|\d+$") for path in files]
        assert isinstance(self.labels, Path)
        lines = [line.split("\t") for line in self.labels.read_text(encoding="utf-8").splitlines() if line.strip()]
        if any(len(fields) < 2 for fields in lines):
            raise RecipeError(f"{self.labels} has a line without a tab between file name and class.")
        table = {fields[0]: fields[1] for fields in lines}
        return [_id_or_words(table[path.name]) if path.name in table else None for path in files]


@dataclass(frozen=True)
class Recipe:
    """What goes into a run: photo sets, files of texts without photos, a WordNet folder and the two teachers.

    `image_teacher` is a classifier in TensorFlow Lite's format (uint8, 224 x 224); `text_teacher` a folder with a
    sentence transformer.
    """

    photos: tuple[PhotoSet, ...]
    texts: tuple[Path, ...]
    wordnet: Path | None
    image_teacher: Path
    text_teacher: Path

    @property
    def training(self) -> list[PhotoSet]:
        """The sets that may be trained on."""
        return [photos for photos in self.photos if not photos.held_out]

    def dictionary(self) -> WordNet | None:
        """WordNet, where the recipe names its folder."""
        return None if self.wordnet is None else WordNet(self.wordnet)


def read_recipe(file: Path) -> Recipe:
    """Read a recipe; relative paths are relative to its folder.

    Raises:
        RecipeError: it cannot be read, names what is not there, or lacks something.
    """
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"The recipe {file} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"The recipe {file} is not TOML: {error}.") from error

    def path(table: dict[str, Any], key: str) -> Path | None:
        if key not in table:
            return None
        named = file.parent / str(table[key])
        if not named.exists():
            raise RecipeError(f"The recipe {file} names {named}, which is not there.")
        return named

    def needed(table: dict[str, Any], key: str) -> Path:
        named = path(table, key)
        if named is None:
            raise RecipeError(f"The recipe {file} lacks `{key}`.")
        return named

    def tables(key: str, known: set[str]) -> list[dict[str, Any]]:
        found_tables = found.get(key, [])
        if not isinstance(found_tables, list):
            raise RecipeError(f"The recipe {file} has [{key}] where [[{key}]] is meant.")
        for table in found_tables:
            if unknown := sorted(set(table) - known):
                raise RecipeError(f"The recipe {file} has an unknown setting `{unknown[0]}` in [[{key}]].")
        return list(found_tables)

    if unknown := sorted(set(found) - {"photos", "texts", "wordnet", "image_teacher", "text_teacher"}):
        raise RecipeError(f"The recipe {file} has an unknown setting `{unknown[0]}`.")
    sets = []
    for table in tables("photos", set(PhotoSet.__dataclass_fields__)):
        name, side, share = table.get("name"), table.get("side"), table.get("share", 0)
        if not isinstance(name, str) or not isinstance(side, int) or side < 1:
            raise RecipeError(f"Each [[photos]] of the recipe {file} needs a `name` and a `side` in pixels.")
        if not isinstance(share, int) or share < 0:
            raise RecipeError(f"The `share` of {name} in the recipe {file} is a whole number, or is left out.")
        labels: str | Path = table.get("labels", "none")
        if labels not in ("folder", "name", "none"):
            labels = needed(table, "labels")
        held_out = bool(table.get("held_out", False))
        captions, only = path(table, "captions"), path(table, "only")
        sets.append(PhotoSet(name, needed(table, "folder"), side, share, labels, captions, only, held_out))
    if len({photos.name for photos in sets}) < len(sets):
        raise RecipeError(f"Two [[photos]] of the recipe {file} have the same name.")
    if not any(photos.share > 0 for photos in sets if not photos.held_out):
        raise RecipeError(f"No [[photos]] of the recipe {file} has a `share`: there would be nothing to learn from.")
    if not any(photos.captions and photos.share > 0 for photos in sets if not photos.held_out):
        raise RecipeError(
            f"No [[photos]] with a `share` of the recipe {file} has `captions`: pictures and texts meet through them."
        )
    texts = tuple(needed(table, "file") for table in tables("texts", {"file"}))
    return Recipe(
        tuple(sets), texts, path(found, "wordnet"), needed(found, "image_teacher"), needed(found, "text_teacher")
    )


def read_captions(file: Path) -> dict[str, list[str]]:
    """Captions by the photo's file name, as people wrote them.

    Takes a CSV with the columns `image,caption`, Karpathy's JSON and COCO's annotations.
    """
    captions: dict[str, list[str]] = {}
    if file.suffix == ".json":
        content = json.loads(file.read_text(encoding="utf-8"))
        if "annotations" in content:
            names = {image["id"]: image["file_name"] for image in content.get("images", [])}
            for item in content["annotations"]:
                name = names.get(item["image_id"], str(item["image_id"]))
                captions.setdefault(name, []).append(item["caption"])
        else:
            for image in content["images"]:
                captions[image["filename"]] = [sentence["raw"] for sentence in image["sentences"]]
    else:
        with file.open(encoding="utf-8", newline="") as rows:
            for row in csv.reader(rows):
                if len(row) >= 2 and row != ["image", "caption"]:
                    captions.setdefault(row[0], []).append(",".join(row[1:]))
    return captions


def _class_name(path: Path) -> str | None:
    """The folder nearest to the root that is a WordNet id; else the photo's own folder."""
    folders = path.parts[:-1]
    ids = [folder for folder in folders if _WORDNET_ID.fullmatch(folder)]
    return ids[0] if ids else _id_or_words(folders[-1]) if folders else None


def _id_or_words(text: str, cut: str | None = None) -> str:
    """A WordNet id where `text` begins with one, else words, without what matches `cut`."""
    found = _WORDNET_ID.match(text)
    return found.group() if found else _words(text if cut is None else re.sub(cut, "", text, count=1))


def _words(name: str) -> str:
    """`insideCity`, `tall_building` as words, in lower case."""
    return re.sub(r"[\s_-]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)).strip().lower()

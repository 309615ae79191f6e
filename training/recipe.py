"""Which photos, texts and teachers a training run uses: a TOML file, checked before anything is read."""

from __future__ import annotations

import csv
import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_WORDNET_ID = re.compile(r"n\d{8}")
PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})


class RecipeError(Exception):
    """What is wrong with a recipe, a folder or a run, in one sentence."""


@dataclass(frozen=True)
class PhotoSet:
    """Photos of one source.

    `side` is the edge in pixels at which they are kept (squeezed to a square). `labels` says where a photo's class
    stands: `folder` (the folder it lies in), `name` (its file name: a WordNet id, or what comes before the last `_`
    or digit), a file of lines `file<TAB>class`, or `none`. `captions` is a CSV with the columns `image,caption` or
    Karpathy's JSON; `only` is a file that lists the names to use. `share` is how many pictures of a batch come from the
    set, against the other sets' shares. Sets that are `held_out` are never trained on.
    """

    name: str
    folder: Path
    side: int
    share: int = 0
    labels: str = "none"
    captions: Path | None = None
    only: Path | None = None
    held_out: bool = False

    def files(self) -> list[Path]:
        """The set's photos, in the order of their paths."""
        names = None if self.only is None else set(self.only.read_text(encoding="utf-8").split())
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
            return [_id_or_words(re.split(r"_(?=[^_]*$)|\d+$", path.stem)[0]) for path in files]
        lines = (self.folder / self.labels).read_text(encoding="utf-8").splitlines()
        table = {line.split("\t")[0]: line.split("\t")[1] for line in lines if line}
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

    sets = []
    for table in found.get("photos", []):
        known = set(PhotoSet.__dataclass_fields__)
        if unknown := set(table) - known:
            raise RecipeError(f"The recipe {file} has an unknown setting `{sorted(unknown)[0]}` for photos.")
        if not isinstance(table.get("name"), str) or not isinstance(table.get("side"), int):
            raise RecipeError(f"Each [[photos]] of the recipe {file} needs a `name` and a `side` in pixels.")
        sets.append(
            PhotoSet(
                table["name"],
                needed(table, "folder"),
                table["side"],
                int(table.get("share", 0)),
                table.get("labels", "none"),
                path(table, "captions"),
                path(table, "only"),
                bool(table.get("held_out", False)),
            )
        )
    if len({photos.name for photos in sets}) < len(sets):
        raise RecipeError(f"Two [[photos]] of the recipe {file} have the same name.")
    texts = tuple(needed(table, "file") for table in found.get("texts", []))
    return Recipe(
        tuple(sets), texts, path(found, "wordnet"), needed(found, "image_teacher"), needed(found, "text_teacher")
    )


def read_captions(file: Path) -> dict[str, list[str]]:
    """Captions by the photo's file name, as people wrote them.

    Takes a CSV with the columns `image,caption`, Karpathy's JSON and COCO's annotations (whose photos are numbers).
    """
    captions: dict[str, list[str]] = {}
    if file.suffix == ".json":
        content = json.loads(file.read_text(encoding="utf-8"))
        if "annotations" in content:
            for item in content["annotations"]:
                captions.setdefault(str(item["image_id"]), []).append(item["caption"])
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


def _id_or_words(text: str) -> str:
    found = _WORDNET_ID.match(text)
    return found.group() if found else _words(text)


def _words(name: str) -> str:
    """`insideCity`, `tall_building` as words, in lower case."""
    return re.sub(r"[\s_-]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)).strip().lower()

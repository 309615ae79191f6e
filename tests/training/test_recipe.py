"""A recipe is checked before anything is read, and says in a sentence what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from training.__main__ import main
from training.recipe import PhotoSet, RecipeError, read_captions, read_recipe
from training.wordnet import WordNet

NOUNS = """  1 This is how the licence stands before the data.
00001740 03 n 01 entity 0 000 | that which is
02121620 05 n 02 cat 0 true_cat 0 001 @ 00001740 n 0000 | feline
02123045 05 n 03 tabby 0 tabby_cat 0 Tabby 1 002 @ 02121620 n 0000 #m 00001740 n 0000 | a cat with a grey coat
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    (tmp_path / "captions.csv").write_text("image,caption\na.jpg,A cat , and a dog .\na.jpg,A cat .\n")
    (tmp_path / "teacher").touch()
    file = tmp_path / "recipe.toml"
    file.write_text(
        'image_teacher = "teacher"\ntext_teacher = "teacher"\n'
        '[[photos]]\nname = "one"\nfolder = "photos"\nside = 32\nshare = 1\ncaptions = "captions.csv"\n'
    )
    return file


def test_paths_are_relative_to_the_recipe(recipe: Path) -> None:
    found = read_recipe(recipe)
    assert found.photos[0].folder == recipe.parent / "photos" and found.photos[0].labels == "none"
    assert found.wordnet is None and found.training == list(found.photos)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("side = 32", "sides = 32"), "unknown setting `sides`"),
        (("side = 32", "side = 0"), "needs a `name` and a `side` in pixels"),
        (("share = 1", 'share = "much"'), "`share` of one in the recipe .* is a whole number"),
        (("share = 1", "share = -1"), "`share` of one in the recipe .* is a whole number"),
        (("share = 1", "share = 0"), "has a `share`"),
        (('captions = "captions.csv"', ""), "has `captions`"),
        (('folder = "photos"', 'folder = "nowhere"'), "which is not there"),
        (('folder = "photos"', ""), "lacks `folder`"),
        (('image_teacher = "teacher"', ""), "lacks `image_teacher`"),
        (("[[photos]]", "[photos]"), "where [[photos]] is meant"),
        (("[[photos]]", 'colour = "red"\n[[photos]]'), "unknown setting `colour`"),
        (("share = 1", 'share = 1\nlabels = "nowhere.txt"'), "which is not there"),
        (("share = 1", "share = = 1"), "is not TOML"),
    ],
)
def test_mistakes_are_named(recipe: Path, change: tuple[str, str], sentence: str) -> None:
    recipe.write_text(recipe.read_text().replace(*change))
    with pytest.raises(RecipeError, match=sentence.replace("[", r"\[").replace("]", r"\]")):
        read_recipe(recipe)


def test_two_sets_of_one_name_and_a_missing_recipe(recipe: Path) -> None:
    recipe.write_text(recipe.read_text() + '[[photos]]\nname = "one"\nfolder = "photos"\nside = 32\n')
    with pytest.raises(RecipeError, match="same name"):
        read_recipe(recipe)
    with pytest.raises(RecipeError, match="cannot be read"):
        read_recipe(recipe.with_name("other.toml"))


def test_command_says_one_sentence_and_fails(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = recipe.with_name("other.toml")
    monkeypatch.setattr("sys.argv", ["training", "prepare", "--recipe", str(missing), "--run", str(recipe.parent)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 1
    assert capsys.readouterr().err.startswith(f"Error: The recipe {missing} cannot be read")


def test_classes_come_from_folders_names_or_a_file(tmp_path: Path) -> None:
    for name in ("n02123045/images/n02123045_1.jpg", "insideCity/7.jpg", "tall_building/8.jpg"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    photos = PhotoSet("set", tmp_path, 32, labels="folder")
    files = photos.files()
    assert photos.classes(files) == ["inside city", "n02123045", "tall building"]
    names = [tmp_path / name for name in ("n02123045.jpg", "n02123045_tabby.jpg", "sea_lion_12.jpg", "dog7.jpg")]
    assert PhotoSet("set", tmp_path, 32, labels="name").classes(names) == ["n02123045", "n02123045", "sea lion", "dog"]
    table = tmp_path / "classes.txt"
    table.write_text("7.jpg\tn02123045\t1\n8.jpg\tTown\n")
    assert PhotoSet("set", tmp_path, 32, labels=table).classes(files) == ["n02123045", None, "town"]
    table.write_text("7.jpg n02123045\n")
    with pytest.raises(RecipeError, match="without a tab"):
        PhotoSet("set", tmp_path, 32, labels=table).classes(files)


def test_only_listed_files_are_used(tmp_path: Path) -> None:
    for name in ("a photo.jpg", "b.jpg", "c.txt"):
        (tmp_path / name).touch()
    (tmp_path / "list").write_text("a photo.jpg\nc.txt\n")
    photos = PhotoSet("set", tmp_path, 32, only=tmp_path / "list")
    assert [file.name for file in photos.files()] == ["a photo.jpg"]


def test_captions_are_read_from_three_formats(recipe: Path) -> None:
    assert read_captions(recipe.parent / "captions.csv") == {"a.jpg": ["A cat , and a dog .", "A cat ."]}
    file = recipe.parent / "captions.json"
    file.write_text(json.dumps({"images": [{"filename": "a.jpg", "sentences": [{"raw": "A cat."}]}]}))
    assert read_captions(file) == {"a.jpg": ["A cat."]}
    annotations = [{"image_id": 7, "caption": "A cat."}, {"image_id": 8, "caption": "A dog."}]
    file.write_text(json.dumps({"images": [{"id": 7, "file_name": "0007.jpg"}], "annotations": annotations}))
    assert read_captions(file) == {"0007.jpg": ["A cat."], "8": ["A dog."]}


def test_wordnet_knows_synonyms_and_kinds(tmp_path: Path) -> None:
    (tmp_path / "data.noun").write_text(NOUNS)
    wordnet = WordNet(tmp_path)
    assert wordnet.names("n02123045") == ["tabby", "tabby cat", "tabby"]
    assert wordnet.hypernyms("n02123045", 3) == ["cat", "entity"]
    assert list(wordnet.all_names()) == ["entity", "cat", "true cat", "tabby", "tabby cat", "Tabby"]
    assert wordnet.names("n00000000") == [] and wordnet.hypernyms("n00000000", 2) == []

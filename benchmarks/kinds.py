"""How well screenshots, documents and drawings are told from photos.

    python benchmarks/kinds.py --photos PHOTOS

No set of such pictures could be shipped, so they are made (benchmarks/pictures.py): screens and printed pages rendered
by Chromium, pages also as they come from a scanner and from a phone that is held over a desk, drawings of several
kinds. `--photos` is a folder of photographs; those that scikit-image, scikit-learn and matplotlib carry are added.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from contextlib import closing
from pathlib import Path

from benchmarks.pictures import make
from indexer.demo import gather_samples
from indexer.report import IndexOptions
from indexer.run import run_index
from search.catalog.connection import connect_to_read
from search.home import Home
from search.query import KINDS


def main() -> None:
    """Make the pictures, index them, and print what they were taken for."""
    parser = argparse.ArgumentParser(description="Measure kinds of pictures.")
    parser.add_argument("--photos", type=Path, required=True, help="a folder of photographs")
    parser.add_argument("--model", default="starter", help="the model to measure")
    parser.add_argument("--seed", type=int, default=1, help="other pictures for another number")
    parser.add_argument("--each", type=int, default=60, help="pictures of each kind that are made")
    options = parser.parse_args()
    photos = sorted(options.photos.glob("*.jpg"))
    if not photos:
        parser.error(f"{options.photos} holds no *.jpg")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder).resolve() / "made"
        make(made, photos, options.each, options.seed)
        gather_samples(made / "photo")
        home = Home(Path(folder) / "home")
        run_index(home, [made, options.photos], IndexOptions(model=options.model, captions="off", download=False))
        taken: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
        with closing(connect_to_read(home)) as connection:
            for place, kind in connection.execute(
                "SELECT folder, kind FROM files JOIN photos ON photos.key = photo_key"
            ):
                below = Path(place.decode())
                taken[below.name if below.parent == made else "photo"][kind] += 1
    print(f"| it is \\ taken for | {' | '.join(KINDS)} |\n|---|{'---|' * len(KINDS)}")
    for truth, counts in taken.items():
        print(f"| {truth} | {' | '.join(str(counts[kind]) for kind in KINDS)} |")


if __name__ == "__main__":
    main()

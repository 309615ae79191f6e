"""How long it takes to read the text in photos, and how many have any.

    python benchmarks/ocr.py PHOTOS [--threads 1] [--most 1000] [--show]

PHOTOS is a folder of photos, or a picture. Times are those of all threads on their processors, so that what else runs
on the machine counts little. `--show` prints what is read.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from indexer.describe.text import DRAFT_SIZE, READER, load_text_reader
from indexer.read import decode
from indexer.suffixes import SUFFIXES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--most", type=int, default=1000)
    parser.add_argument("--show", action="store_true")
    options = parser.parse_args()
    folder: Path = options.photos
    files = (
        [folder] if folder.is_file() else sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    )
    reader = load_text_reader(threads=options.threads)
    decoding = reading = 0.0
    counts = []
    for file in files[: options.most]:
        start = time.process_time()
        image = decode(file.read_bytes(), draft=DRAFT_SIZE).image
        decoded = time.process_time()
        lines = reader.read(image)
        decoding, reading = decoding + decoded - start, reading + time.process_time() - decoded
        counts.append(len(lines))
        if options.show and lines:
            print(f"{file.name}: {' | '.join(line.text for line in lines)}")
    photos = max(1, len(counts))
    print(
        f"{len(counts)} photos, {sum(map(bool, counts))} with text, {sum(counts)} lines; "
        f"{reading / photos:.3f} s to read one, {decoding / photos:.3f} s to decode it, with {READER}"
    )


if __name__ == "__main__":
    main()

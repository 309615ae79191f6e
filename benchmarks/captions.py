"""How many photos a second a captioner describes, beside decoding them.

    python benchmarks/captions.py PHOTOS [--captions starter] [--most 256] [--rounds 3] [--device auto]

PHOTOS is a folder of photos. Nothing is downloaded. Medians over the rounds, in brackets the lowest.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median

from indexer.describe.captioner import caption_each
from indexer.describe.choice import load_captioner
from indexer.read import decode
from indexer.suffixes import SUFFIXES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--captions", default="starter")
    parser.add_argument("--most", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    captioner = load_captioner(options.captions, device=options.device)
    draft = (captioner.side, captioner.side)
    files = sorted(file for file in options.photos.rglob("*") if file.suffix.lower() in SUFFIXES)[: options.most]
    decoding, writing = [], []
    for round_ in range(options.rounds + 1):
        start = time.perf_counter()
        images = [decode(file.read_bytes(), draft=draft).image for file in files]
        decoded = time.perf_counter()
        caption_each(captioner, images)
        if round_:  # the first one warms up
            decoding.append(len(images) / (decoded - start))
            writing.append(len(images) / (time.perf_counter() - decoded))
    for name, rates in (("decoding on one core", decoding), (f"captions by {captioner.name}", writing)):
        print(f"{name}: {median(rates):.0f} ({min(rates):.0f}) photos/s, {len(files)} photos, {options.rounds} rounds")


if __name__ == "__main__":
    main()

"""The page over 100,000 photos: what is sent, how long answers take while someone types, how smoothly it scrolls.

    python benchmarks/web.py --images photos

Needs Chromium (`apt-get install chromium`, or `CHROMIUM=/path/to/it`). Most photos are made up
(benchmarks/synthetic.py); with `--home` the library is kept there for the next time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.synthetic import grow
from search.home import Home

ROOT = Path(__file__).parents[1]
TYPED = (
    "two dogs play in the snow",
    "a man on a beach after:2015",
    "people tag:city",
    "children in a red car",
    "mountain lake",
)
RATE = 20
"""Requests a second: several people who type at once."""
SCROLL = """
async ([pixels, seconds]) => {
  const frames = [];
  let began = null, before = null;
  await new Promise((resolve) => {
    const step = (now) => {
      began ??= now;
      if (before !== null) frames.push(now - before);
      before = now;
      scrollTo(0, ((now - began) / 1000) * pixels);
      if (now - began < seconds * 1000) requestAnimationFrame(step);
      else resolve();
    };
    requestAnimationFrame(step);
  });
  return { frames, elements: document.querySelectorAll("*").length, height: document.documentElement.scrollHeight };
}
"""


def main() -> None:
    """Print transfers, latencies and frames."""
    parser = argparse.ArgumentParser(description="Measure the page over a large library.")
    parser.add_argument("--images", type=Path, required=True, help="a folder of photos, of which the others are made")
    parser.add_argument("--photos", type=int, default=100_000, help="how many photos the library has")
    parser.add_argument("--home", type=Path, help="where the library is kept; a temporary folder unless told")
    parser.add_argument("--seconds", type=int, default=30, help="for how long someone types")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Home(options.home or Path(folder))
        if not home.catalog_path.exists():
            began = time.perf_counter()
            grow(home, options.images, options.photos)
            print(f"Made {options.photos:,} photos in {time.perf_counter() - began:.0f} s.\n", flush=True)
        with serving(home) as address:
            while httpx.get(f"{address}api/search", params={"q": "warm"}, timeout=120).status_code != 200:
                time.sleep(1)
            asyncio.run(typing(address, options.seconds))
            look(address)


@contextmanager
def serving(home: Home) -> Iterator[str]:
    """A server of its own process; gives its address."""
    command = [sys.executable, str(ROOT / "sightline.py"), "serve", "--home", str(home.path), "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            yield str(json.loads(process.stdout.readline())["address"])
        finally:
            process.terminate()


async def typing(address: str, seconds: int) -> None:
    """What the page asks at each key: the answer with its facets, and suggestions; at a steady rate, come what may."""
    asked = [text[: end + 1] for text in TYPED for end in range(len(text))]
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "answers": ("api/search", {"limit": 60, "collapse": True}),
        "answers with facets": ("api/search", {"limit": 60, "collapse": True, "facets": True}),
        "suggestions": ("api/suggest", {"limit": 6}),
    }
    print(
        f"Typing, {RATE} requests a second for {seconds} s\n\n| | p50 | p95 | worst | refused |\n|---|---|---|---|---|",
        flush=True,
    )
    async with httpx.AsyncClient(base_url=address, timeout=60) as client:
        for name, (path, fields) in kinds.items():
            took: list[float] = []
            refused: list[bool] = []

            async def one(
                text: str,
                path: str = path,
                fields: dict[str, Any] = fields,
                took: list[float] = took,
                refused: list[bool] = refused,
            ) -> None:
                began = time.perf_counter()
                answer = await client.get(path, params={"q": text, **fields})
                # A filter that is half typed is refused, as quickly as any; and what is too much at once (503).
                assert answer.status_code in (200, 400, 503), answer.text
                refused.append(answer.status_code == 503)
                took.append(1000 * (time.perf_counter() - began))

            await one(asked[0])
            took.clear()
            refused.clear()
            began, tasks = time.perf_counter(), []
            for number in range(RATE * seconds):
                await asyncio.sleep(max(0.0, began + number / RATE - time.perf_counter()))
                tasks.append(asyncio.create_task(one(asked[number % len(asked)])))
            await asyncio.gather(*tasks)
            p50, p95 = np.percentile(took, (50, 95))
            print(
                f"| {name} | {p50:.0f} ms | {p95:.0f} ms | {max(took):.0f} ms | {100 * np.mean(refused):.0f} % |",
                flush=True,
            )


def look(address: str) -> None:
    """What a browser fetches for its first look, and its frames while it scrolls."""
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        kinds: dict[str, tuple[str, str]] = {}
        sent: list[tuple[str, str, float]] = []
        session.on(
            "Network.responseReceived", lambda e: kinds.update({e["requestId"]: (e["type"], e["response"]["url"])})
        )
        session.on("Network.loadingFinished", lambda e: sent.append((*kinds[e["requestId"]], e["encodedDataLength"])))
        page.goto(address)
        page.wait_for_load_state("networkidle")
        texts = [(url, size) for kind, url, size in sent if kind != "Image"]
        pictures = [size for kind, _, size in sent if kind == "Image"]
        url, largest = max(texts, key=lambda one: one[1])
        whole, shown = sum(size for _, size in texts) / 1000, sum(pictures) / 1000
        print(f"\nFirst look: {whole:.0f} kB in {len(texts)} requests, and {shown:.0f} kB in {len(pictures)} pictures.")
        print(f"The largest request but pictures: {largest / 1000:.0f} kB ({url.removeprefix(address)}).")
        print("\n| scrolling | frames | later than 1/30 s | longest | elements |\n|---|---|---|---|---|")
        for pixels in (2_000, 20_000, 200_000):
            page.evaluate("scrollTo(0, 0)")
            page.wait_for_timeout(1500)
            found = page.evaluate(SCROLL, [pixels, 5])
            frames = np.asarray(found["frames"])
            print(
                f"| {pixels:,} pixels a second | {len(frames)} | {100 * np.mean(frames > 1000 / 30):.1f} % |"
                f" {frames.max():.0f} ms | {found['elements']:,} |",
                flush=True,
            )
        browser.close()


if __name__ == "__main__":
    main()

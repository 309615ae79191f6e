"""Pictures that are no photos, made up: screens, printed pages and drawings, to measure `search.kinds` with."""

from __future__ import annotations

import base64
import io
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter, ImageOps

_VOCABULARY = """
about account area before board calendar change chapter city client contract cost course date delivery design detail
early email energy evening family file first garden green guide harbour health hour house idea income island item
january kitchen letter level library light line list local market measure meeting member message minute model month
morning museum music night note notice number office open order paper part people person phone photo place plan please
point price project public quarter report result river road room school season service small spring start station
street summer table team thanks ticket today total town train travel update visit water weather week window winter
"""
_WORDS = _VOCABULARY.split()
_SCREENS = ((1920, 1080), (1366, 768), (1440, 900), (2560, 1440), (1170, 2532), (1080, 2400), (1080, 1920))
_PAGES = ((1240, 1754), (1654, 2339), (1275, 1650))
_CANVAS = (1000, 800)


class Maker:
    """Makes pictures by dice, with a browser that renders HTML, and photos to stand in them."""

    def __init__(self, browser: Any, photos: Sequence[Path], seed: int) -> None:
        self.browser = browser
        self.photos = photos
        self.dice = random.Random(seed)

    def screenshot(self) -> Image.Image:
        """A telephone's or a computer's screen, or what someone cut out of it."""
        width, height = self.dice.choice(_SCREENS)
        scale = 3 if width < height else 1
        screen = self._rendered(self._screen(), (width // scale, height // scale), scale)
        if self.dice.random() < 0.7:
            return screen
        left, top = self.dice.randrange(width // 3), self.dice.randrange(height // 3)
        return screen.crop((left, top, width - left // 2, height - top // 2))

    def document(self) -> Image.Image:
        """A printed page as a program makes it, as a scanner reads it, or on a desk, as a phone takes it."""
        page = self._rendered(self._page(), self.dice.choice(_PAGES))
        way = self.dice.random()
        if way < 0.3:
            return page
        return self._scanned(page) if way < 0.65 else self._photographed(page)

    def drawing(self) -> Image.Image:
        """A plot, a scene in plain colours, strokes of a pen, or a photo made a sketch or a poster."""
        ways: tuple[Callable[[], Image.Image], ...] = (
            self._plot, self._scene, self._scene, self._strokes, self._sketch, self._poster,
        )  # fmt: skip
        return self.dice.choice(ways)()

    def _screen(self) -> str:
        dark = self.dice.random() < 0.4
        back, front, panel = ("#16181d", "#d8dee9", "#22252b") if dark else ("#fff", "#1c1e21", "#f0f2f5")
        accent = self._colour(40, 200)
        bar = _div(f"background:{accent};color:#fff;padding:12px 18px;font-size:18px", self._text(2))
        ways = {
            "chat": lambda: self._repeated(18, lambda: self._bubble(accent, panel)),
            "code": lambda: self._repeated(80, self._code),
            "mail": lambda: self._repeated(
                26, lambda: _div("padding:12px;border-bottom:1px solid #8886", self._text(12))
            ),
            "sheet": lambda: f"<table>{self._repeated(45, self._row)}</table>",
            "settings": lambda: self._repeated(20, lambda: self._switch(accent)),
            "feed": lambda: self._repeated(6, lambda: self._card(panel)),
            "article": lambda: _div("max-width:760px;margin:auto", self._card(panel), *self._paragraphs(7)),
        }
        body = f"margin:0;background:{back};color:{front};font:15px DejaVu Sans;line-height:1.5"
        return f"<body style='{body}'>{bar}{ways[self.dice.choice(list(ways))]()}"

    def _bubble(self, accent: str, panel: str) -> str:
        own = self.dice.random() < 0.5
        place = f"margin:10px {'10px 10px 20%' if own else '20% 10px 10px'};padding:10px;border-radius:14px"
        return _div(f"{place};background:{accent if own else panel}", self._text(self.dice.randint(2, 25)))

    def _code(self) -> str:
        place = f"font-family:DejaVu Sans Mono;padding-left:{24 * self.dice.randint(0, 5)}px"
        return _div(f"{place};color:{self._colour(90, 220)}", self._text(self.dice.randint(1, 12)).lower())

    def _row(self) -> str:
        cell = "<td style='border:1px solid #999;padding:3px 14px'>"
        return f"<tr>{self._repeated(14, lambda: f'{cell}{self.dice.randint(0, 9999)}')}"

    def _switch(self, accent: str) -> str:
        colour = self.dice.choice((accent, "#999"))
        knob = _div(f"width:44px;height:24px;border-radius:12px;background:{colour}")
        line = "display:flex;justify-content:space-between;padding:16px;border-bottom:1px solid #8884"
        return _div(line, f"<span>{self._text(3)}</span>", knob)

    def _card(self, panel: str) -> str:
        buffer = io.BytesIO()
        self._photo().save(buffer, "JPEG")
        address = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
        picture = f"<img src='{address}' style='width:100%;max-height:340px;object-fit:cover'>"
        return _div(f"margin:10px;background:{panel}", picture, _div("padding:8px", self._text(12)))

    def _page(self) -> str:
        font = self.dice.choice(("DejaVu Serif", "Liberation Serif", "Liberation Sans", "Liberation Mono"))
        prices = f"<p>{self._text(3)} <span style='float:right'>{self.dice.random() * 400:.2f}</span>"
        blank = f"<p>{self._text(2)} <span style='border-bottom:2px solid;padding-right:50%'></span>"
        ways = {
            "letter": lambda: "".join((self._text(3), "<br>", self._text(2), "<br><br>", *self._paragraphs(5))),
            "report": lambda: f"<h1>{self._text(4)}</h1>{''.join(self._paragraphs(6))}",
            "invoice": lambda: f"<h1>{self._text(2)}</h1>{self._repeated(14, lambda: prices)}{self._text(40)}",
            "form": lambda: f"<h2>{self._text(3)}</h2>{self._repeated(18, lambda: blank)}",
            "news": lambda: f"<h1>{self._text(5)}</h1>{_div('columns:3', *self._paragraphs(9))}",
            "list": lambda: f"<h1>{self._text(3)}</h1>{self._repeated(26, lambda: f'<li>{self._text(8)}')}",
        }
        body = f"margin:90px;background:#fff;color:#111;font:{self.dice.choice((18, 21, 25))}px {font};line-height:1.45"
        return f"<body style='{body}'>{ways[self.dice.choice(list(ways))]()}"

    def _scanned(self, page: Image.Image) -> Image.Image:
        turned = page.rotate(self.dice.uniform(-1.5, 1.5), Image.Resampling.BICUBIC, fillcolor="white")
        grain = self._noise().uniform(0, 14, (*turned.size[::-1], 1))
        return _picture(np.asarray(turned, np.float32) * self.dice.uniform(0.88, 1) - grain)

    def _photographed(self, page: Image.Image) -> Image.Image:
        noise, (width, height) = self._noise(), page.size
        wood = noise.normal(self.dice.randint(60, 170), 12, (height // 8, width // 8, 1)) * np.array([1, 0.82, 0.62])
        desk = _picture(wood + noise.normal(0, 16, (1, width // 8, 1))).resize(page.size, Image.Resampling.BICUBIC)
        corners = ((0, 0, 1, 1), (0, height, 1, -1), (width, height, -1, -1), (width, 0, -1, 1))
        away = [
            value
            for x, y, right, down in corners
            for value in (
                x - right * self.dice.uniform(0, 0.14) * width,
                y - down * self.dice.uniform(0, 0.12) * height,
            )
        ]
        seen = page.transform(page.size, Image.Transform.QUAD, away, Image.Resampling.BICUBIC)
        mask = Image.new("L", page.size, 255).transform(page.size, Image.Transform.QUAD, away)
        desk.paste(seen, mask=mask)
        light = np.linspace(self.dice.uniform(0.65, 1), self.dice.uniform(0.65, 1), width)[None, :, None]
        taken = _picture(np.asarray(desk, np.float32) * light + noise.normal(0, 4, (height, width, 1)))
        return ImageOps.fit(taken.filter(ImageFilter.GaussianBlur(1)), (1500, 2000))

    def _plot(self) -> Image.Image:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        noise = self._noise()
        figure, axes = pyplot.subplots(figsize=(self.dice.choice((6, 8)), self.dice.choice((4, 6))), dpi=120)
        way = self.dice.choice(("line", "bar", "pie", "scatter"))
        if way == "line":
            axes.plot(noise.normal(size=(60, self.dice.randint(1, 5))).cumsum(axis=0))
        elif way == "bar":
            axes.bar([self._text(1) for _ in range(6)], noise.uniform(1, 9, 6), color=self._colour())
        elif way == "pie":
            axes.pie(noise.uniform(1, 9, 5), labels=[self._text(1) for _ in range(5)])
        else:
            axes.scatter(noise.normal(size=200), noise.normal(size=200), color=self._colour())
        axes.set_title(self._text(4))
        buffer = io.BytesIO()
        figure.savefig(buffer)
        pyplot.close(figure)
        return Image.open(buffer).convert("RGB")

    def _scene(self) -> Image.Image:
        line = self.dice.choice(("stroke='#000' stroke-width='5'", ""))
        shapes = [f"<rect width='1000' height='800' fill='{self._colour(150, 255)}'/>"]
        shapes.append(f"<rect y='{self.dice.randint(450, 650)}' width='1000' height='500' fill='{self._colour()}'/>")
        for _ in range(self.dice.randint(3, 12)):
            x, y, r = self.dice.randint(60, 900), self.dice.randint(60, 700), self.dice.randint(25, 120)
            shapes.append(
                self.dice.choice(
                    (
                        f"<circle cx='{x}' cy='{y}' r='{r}'",
                        f"<rect x='{x}' y='{y}' width='{2 * r}' height='{r}'",
                        f"<polygon points='{x},{y} {x + 2 * r},{y} {x + r},{y - 2 * r}'",
                    )
                )
                + f" fill='{self._colour()}' {line}/>"
            )
        return self._svg(shapes)

    def _strokes(self) -> Image.Image:
        def around() -> str:
            return " ".join(str(self.dice.randint(-200, 200)) for _ in range(4))

        return self._svg(
            f"<path d='M {self.dice.randint(50, 950)} {self.dice.randint(50, 750)} q {around()} q {around()}'"
            f" fill='none' stroke='{self._colour(0, 200)}' stroke-width='{self.dice.randint(3, 16)}'/>"
            for _ in range(self.dice.randint(8, 40))
        )

    def _sketch(self) -> Image.Image:
        grey = self._photo().convert("L")
        soft = np.asarray(ImageOps.invert(grey).filter(ImageFilter.GaussianBlur(8)), np.float32)
        return _picture(np.asarray(grey, np.float32) * 255 / np.maximum(255 - soft, 1)).convert("RGB")

    def _poster(self) -> Image.Image:
        return ImageOps.posterize(
            self._photo().filter(ImageFilter.ModeFilter(9)).filter(ImageFilter.MedianFilter(7)), 2
        )

    def _photo(self) -> Image.Image:
        image = Image.open(self.dice.choice(self.photos)).convert("RGB")
        return image.resize((500, 500 * image.height // image.width), Image.Resampling.BICUBIC)

    def _svg(self, shapes: Any) -> Image.Image:
        return self._rendered(f"<body style='margin:0'><svg width='1000' height='800'>{''.join(shapes)}</svg>", _CANVAS)

    def _rendered(self, html: str, size: tuple[int, int], scale: int = 1) -> Image.Image:
        page = self.browser.new_page(viewport={"width": size[0], "height": size[1]}, device_scale_factor=scale)
        try:
            page.set_content(html)
            return Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        finally:
            page.close()

    def _text(self, words: int) -> str:
        return " ".join(self.dice.choice(_WORDS) for _ in range(words)).capitalize()

    def _paragraphs(self, count: int) -> list[str]:
        return [f"<p>{self._text(80)}" for _ in range(count)]

    def _repeated(self, times: int, part: Callable[[], str]) -> str:
        return "".join(part() for _ in range(times))

    def _colour(self, low: int = 0, high: int = 255) -> str:
        return "#" + "".join(f"{self.dice.randint(low, high):02x}" for _ in range(3))

    def _noise(self) -> np.random.Generator:
        return np.random.default_rng(self.dice.randrange(2**31))


def make(folder: Path, photos: Sequence[Path], each: int, seed: int) -> None:
    """Write `each` screenshots, documents and drawings into folders of these names, some as PNG and some as JPEG."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        maker = Maker(browser, photos, seed)
        for kind, lossy in (("screenshot", 0.25), ("document", 0.7), ("drawing", 0.5)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            for number in range(each):
                picture: Image.Image = getattr(maker, kind)()
                suffix = "jpg" if maker.dice.random() < lossy else "png"
                picture.save(folder / kind / f"{number}.{suffix}", quality=85)
        browser.close()


def _div(style: str, *content: str) -> str:
    return f"<div style='{style}'>{''.join(content)}</div>"


def _picture(values: Any) -> Image.Image:
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))

"""The captioner behind an OpenAI-compatible endpoint, against a server on this machine."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest
from PIL import Image

from indexer.describe.captioner import Caption, CaptionError, CaptionerUnavailableError, Described, caption_each
from indexer.describe.choice import load_captioner
from indexer.describe.openai import (
    LARGEST,
    Endpoint,
    OpenAICaptioner,
    dry_run,
    endpoint_from_environment,
    load_openai,
    privacy_note,
)


class Reply(NamedTuple):
    status: int
    document: Any
    headers: dict[str, str] = {}  # noqa: RUF012


def says(text: str | None, **more: Any) -> Reply:
    return Reply(200, {"choices": [{"message": {"role": "assistant", "content": text, **more}}]})


def fails(status: int, message: str = "no", **headers: str) -> Reply:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return Reply(status, {"error": {"message": message}}, named)


class Endpoints(ThreadingHTTPServer):
    """Answers as `script` says for a picture's width, and remembers what it was asked."""

    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: Callable[[int], Reply] = lambda width: says(f"a photo that is {width} wide .")
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.pictures: list[bytes] = []
        self.lock = threading.Lock()
        self.inside = self.most = 0
        self.url = f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Endpoints

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.path == "/v1/chat/completions" and self.headers["Content-Type"] == "application/json"
        asked = json.loads(raw)
        url = asked["messages"][0]["content"][1]["image_url"]["url"]
        picture = base64.b64decode(url.removeprefix("data:image/jpeg;base64,"), validate=True)
        with self.server.lock:
            self.server.requests.append(asked)
            self.server.keys.append(self.headers["Authorization"])
            self.server.pictures.append(picture)
            self.server.inside += 1
            self.server.most = max(self.server.most, self.server.inside)
        reply = self.server.script(Image.open(io.BytesIO(picture)).width)
        with self.server.lock:
            self.server.inside -= 1
        body = reply.document if isinstance(reply.document, bytes) else json.dumps(reply.document).encode()
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoints]:
    for name in ("SIGHTLINE_OPENAI_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Endpoints() as made:
        monkeypatch.setenv("SIGHTLINE_OPENAI_URL", made.url)
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


class Waits(list[float]):
    """Takes down how long it was asked to wait, and does not."""

    def __call__(self, seconds: float) -> None:
        self.append(round(seconds, 1))


@pytest.fixture
def waits() -> Waits:
    return Waits()


def captioner(waits: Waits, requests: int = 4) -> OpenAICaptioner:
    return OpenAICaptioner("tiny-vision", endpoint_from_environment(), requests=requests, pause=waits)


def pictures(*widths: int) -> list[Image.Image]:
    return [Image.new("RGB", (width, 8), "teal") for width in widths]


def texts(found: Sequence[Described]) -> list[str]:
    return [one.text if isinstance(one, Caption) else "" for one in found]


def test_captions_come_in_the_order_of_the_photos(server: Endpoints, waits: Waits) -> None:
    loaded = load_captioner("openai:tiny-vision")
    assert loaded.name == "openai:tiny-vision"
    assert texts(caption_each(loaded, pictures(*range(10, 60)))) == [
        f"A photo that is {width} wide" for width in range(10, 60)
    ]
    assert len(server.requests) == 50 and set(server.keys) == {None}
    asked = server.requests[0]
    assert asked["model"] == "tiny-vision" and asked["max_tokens"] == 500
    assert "one short factual sentence" in asked["messages"][0]["content"][0]["text"]


@pytest.mark.parametrize(
    ("written", "caption"),
    [
        ('**Caption:** "A dog on a beach."\n', "A dog on a beach"),
        ("<think>It is a dog.\n</think>\na dog\x00 runs", "A dog runs"),
        ("word " * 400, "Word word word"),
    ],
)
def test_answers_are_tidied_and_bounded(server: Endpoints, waits: Waits, written: str, caption: str) -> None:
    server.script = lambda width: says(written)
    found = captioner(waits).caption(pictures(10))[0]
    assert isinstance(found, Caption) and found.confidence is None
    assert found.text == caption or (len(caption) > 13 and len(found.text) < 300)


def test_pictures_are_small_and_carry_nothing_but_pixels(server: Endpoints, waits: Waits) -> None:
    exif = Image.Exif()
    exif[0x010E] = "secret description"
    exif.get_ifd(0x8825)[1] = "N"
    file = io.BytesIO()
    noise = Image.effect_noise((4000, 1000), 80).convert("RGB")
    noise.save(file, "JPEG", exif=exif, comment=b"secret comment", xmp=b"<x>secret xmp</x>", icc_profile=b"secret icc")
    captioner(waits).caption([Image.open(file)])
    (sent,) = server.pictures
    seen = Image.open(io.BytesIO(sent))
    assert seen.size == (LARGEST, LARGEST // 4) and seen.format == "JPEG"
    assert not seen.getexif() and not {"exif", "comment", "xmp", "icc_profile"} & seen.info.keys()
    assert b"secret" not in sent and len(sent) < 300_000


def test_a_photo_that_is_no_picture_is_not_sent_and_fails_alone(server: Endpoints, waits: Waits) -> None:
    good, bad = pictures(10, 20)
    bad.close()
    bad.im = None  # type: ignore[assignment]
    found = captioner(waits).caption([good, bad])
    assert isinstance(found[0], Caption) and isinstance(found[1], CaptionError) and len(server.requests) == 1


def test_no_more_than_so_many_requests_at_once(server: Endpoints, waits: Waits) -> None:
    # Nobody is answered before three have come, so that fewer would never end, and more would be counted.
    gate = threading.Barrier(3)

    def answer(width: int) -> Reply:
        gate.wait(timeout=30)
        return says("a photo")

    server.script = answer
    assert len(captioner(waits, requests=3).caption(pictures(*range(10, 22)))) == 12
    assert server.most == 3


@pytest.mark.parametrize(
    ("reply", "waited"),
    [
        (fails(429), [1.0]),
        (fails(503), [1.0]),
        (fails(429, Retry_After="7"), [7.0]),
        (fails(429, Retry_After="86400"), [60.0]),
        (fails(429, Retry_After=formatdate(0, usegmt=True)), [0.0]),
        (fails(429, Retry_After="soon"), [1.0]),
    ],
)
def test_a_request_is_tried_again(server: Endpoints, waits: Waits, reply: Reply, waited: list[float]) -> None:
    replies = iter([reply, says("a photo")])
    server.script = lambda width: next(replies)
    assert texts(captioner(waits).caption(pictures(10))) == ["A photo"]
    assert waits == waited


def test_an_endpoint_that_stays_busy_ends_the_stage(server: Endpoints, waits: Waits) -> None:
    server.script = lambda width: fails(429, "slow down")
    with pytest.raises(CaptionerUnavailableError, match=r"429: Slow down.*goes on from here"):
        caption_each(captioner(waits), pictures(10))
    assert waits == [1.0, 2.0, 4.0, 8.0] and len(server.requests) == 5


def test_an_endpoint_that_is_down_ends_the_stage(server: Endpoints, waits: Waits, monkeypatch: Any) -> None:
    monkeypatch.setenv("SIGHTLINE_OPENAI_URL", "http://127.0.0.1:9/v1")
    with pytest.raises(CaptionerUnavailableError, match=r"127\.0\.0\.1:9 .* does not answer") as caught:
        caption_each(captioner(waits), pictures(*range(10, 30)))
    assert "\n" not in str(caught.value)
    assert len(waits) < 4 * 20, "not every photo is tried"


@pytest.mark.parametrize("status", [401, 403, 404, 302])
def test_a_key_or_an_address_that_is_wrong_ends_the_stage_at_once(
    server: Endpoints, waits: Waits, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGHTLINE_OPENAI_KEY", "sk-mine")
    server.script = lambda width: fails(status, "Incorrect key: sk-mine")
    with pytest.raises(CaptionerUnavailableError, match=str(status)) as caught:
        caption_each(captioner(waits, requests=1), pictures(*range(10, 20)))
    assert waits == [] and len(server.requests) <= 2
    assert "sk-mine" not in str(caught.value) and "sk-mine" not in repr(endpoint_from_environment())
    assert server.keys[0] == "Bearer sk-mine"


def test_an_account_without_credit_ends_the_stage_at_once(server: Endpoints, waits: Waits) -> None:
    server.script = lambda width: Reply(429, {"error": {"message": "quota", "code": "insufficient_quota"}})
    with pytest.raises(CaptionerUnavailableError, match="Quota"):
        caption_each(captioner(waits), pictures(10))
    assert waits == []


def test_a_picture_that_is_refused_fails_alone(server: Endpoints, waits: Waits) -> None:
    server.script = lambda width: fails(400, "unsafe\nimage") if width == 20 else says("a photo")
    found = caption_each(captioner(waits), pictures(10, 20, 30))
    assert texts(found) == ["A photo", "", "A photo"]
    assert "refuses it (Unsafe image)" in str(found[1])
    assert len(server.requests) == 3, "the others are not sent again"


def test_a_picture_that_the_model_will_not_describe_fails_alone(server: Endpoints, waits: Waits) -> None:
    server.script = lambda width: says(None, refusal="I can't help") if width == 20 else says("a photo")
    found = caption_each(captioner(waits), pictures(10, 20))
    assert texts(found) == ["A photo", ""] and "I can't help" in str(found[1])


def test_a_picture_on_which_the_server_crashes_fails_alone_where_others_are_answered(
    server: Endpoints, waits: Waits
) -> None:
    given_up = threading.Event()
    crashes = 0

    def answer(width: int) -> Reply:
        nonlocal crashes
        if width == 20:
            crashes += 1
            if crashes == 5:
                given_up.set()
            return fails(500, "crashed")
        given_up.wait(30)  # so slow that the bad photo has had all its tries
        return says("a photo")

    server.script = answer
    found = caption_each(captioner(waits, requests=2), pictures(20, 30, 40))
    assert texts(found) == ["", "A photo", "A photo"] and "fails on it" in str(found[0]) and crashes == 5


def test_an_endpoint_that_crashes_on_every_picture_is_not_asked_for_all(server: Endpoints, waits: Waits) -> None:
    server.script = lambda width: fails(500, "crashed")
    with pytest.raises(CaptionerUnavailableError, match="500: Crashed"):
        caption_each(captioner(waits), pictures(*range(10, 40)))
    assert len(server.requests) <= 2 * 4 * 5


@pytest.mark.parametrize("last", [fails(401), Reply(429, {"error": {"message": "x", "code": "insufficient_quota"}})])
def test_answers_from_before_the_endpoint_ends_are_kept(server: Endpoints, waits: Waits, last: Reply) -> None:
    replies = iter([says("a photo")] * 5)
    server.script = lambda width: next(replies, last)
    found = caption_each(captioner(waits, requests=2), pictures(*range(10, 26)))
    assert texts(found).count("A photo") == 5 and len(server.requests) <= 7
    assert sum(isinstance(one, CaptionerUnavailableError) for one in found) == 11


def test_answers_from_before_an_interrupt_are_kept(
    server: Endpoints, waits: Waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what the keyboard does to the main thread, while requests are under way."""
    asked = threading.Event()

    def answer(width: int) -> Reply:
        asked.set()
        return says("a photo")

    def interrupted(futures: Any) -> None:
        asked.wait(30)
        raise KeyboardInterrupt

    monkeypatch.setattr("indexer.describe.openai.wait", interrupted)
    server.script = answer
    found = captioner(waits, requests=1).caption(pictures(*range(10, 300)))
    assert texts(found[:1]) == ["A photo"] and isinstance(found[-1], KeyboardInterrupt)


@pytest.mark.parametrize("document", [b"<html>Welcome", {"choices": []}, [], {"answer": "a dog"}, {"choices": [None]}])
def test_something_else_than_a_chat_completion_ends_the_stage(server: Endpoints, waits: Waits, document: Any) -> None:
    server.script = lambda width: Reply(200, document)
    with pytest.raises(CaptionerUnavailableError, match="does not answer as a chat completion"):
        caption_each(captioner(waits), pictures(10))


@pytest.mark.parametrize("bound", ["_LONGEST_ANSWER", "_LONGEST_ANSWER_SECONDS"])
def test_an_answer_without_end_ends_the_stage(
    server: Endpoints, waits: Waits, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    monkeypatch.setattr(f"indexer.describe.openai.{bound}", 0)
    with pytest.raises(CaptionerUnavailableError, match="its answer has no end"):
        caption_each(captioner(waits), pictures(30))


def test_a_dry_run_sends_nothing_and_counts_every_byte(server: Endpoints, waits: Waits) -> None:
    images = pictures(100, 2000)
    run = dry_run("tiny-vision", iter(images))
    assert server.requests == []
    assert (run.photos, run.host) == (2, f"127.0.0.1:{server.server_port}")
    captioner(waits).caption(images)
    assert run.bytes == sum(len(json.dumps(asked)) for asked in server.requests)
    assert str(run) == f"2 photos would be sent to {run.host}, 0.0 MB in all; nothing was sent."
    assert run.host in privacy_note()


def test_openai_needs_a_key_and_nobody_else_gets_its(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SIGHTLINE_OPENAI_KEY", "SIGHTLINE_OPENAI_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(CaptionerUnavailableError, match="needs a key"):
        load_openai("gpt-4o-mini")
    assert dry_run("gpt-4o-mini", pictures(10)).host == "api.openai.com"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-theirs\n")
    assert endpoint_from_environment() == Endpoint("https://api.openai.com/v1", "sk-theirs")
    assert load_openai("gpt-4o-mini").name == "openai:gpt-4o-mini"
    monkeypatch.setenv("SIGHTLINE_OPENAI_URL", "http://openai.com.example.org/v1/")
    assert endpoint_from_environment() == Endpoint("http://openai.com.example.org/v1", "")
    monkeypatch.setenv("SIGHTLINE_OPENAI_KEY", "sk-mine")
    assert endpoint_from_environment().key == "sk-mine"


@pytest.mark.parametrize("url", ["127.0.0.1:11434/v1", "ftp://host/v1", "http://", "http://[::1", "nonsense"])
def test_an_address_that_is_none(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_OPENAI_URL", url)
    with pytest.raises(CaptionerUnavailableError, match="SIGHTLINE_OPENAI_URL is no address"):
        load_openai("any")


def test_a_key_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_OPENAI_KEY", "schlüssel")
    with pytest.raises(CaptionerUnavailableError, match="characters that no key has"):
        load_openai("any")


@pytest.mark.parametrize("status", [400, 401])
def test_a_key_that_the_server_repeats_is_not_shown(
    server: Endpoints, waits: Waits, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setenv("SIGHTLINE_OPENAI_KEY", "sk-secretkey123")
    server.script = lambda width: fails(status, "sk-secretkey123 is no key")
    try:
        told = str(caption_each(captioner(waits), pictures(10))[0])
    except CaptionerUnavailableError as error:
        told = str(error)
    assert "is no key" in told and "secret" not in told.lower()


def test_a_proxy_that_cannot_be_used_is_no_photos_fault(
    server: Endpoints, waits: Waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "nonsense://127.0.0.1:1")
    with pytest.raises(CaptionerUnavailableError, match="no connection can be made"):
        caption_each(captioner(waits), pictures(10, 20))

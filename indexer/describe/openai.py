"""Captions from an OpenAI-compatible vision endpoint: OpenAI's own, or Ollama, llama.cpp or vLLM on a machine of yours.

The only captioner that sends pictures away. What is sent of a photo: at most 768 pixels on the longer side, as a JPEG
without EXIF, comments or a name.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
from PIL import Image

from indexer.describe.captioner import Caption, CaptionError, CaptionerUnavailableError, Described, first_line
from indexer.describe.wording import tidy

URL = "https://api.openai.com/v1"
LARGEST = 768
PROMPT = "Describe this photo in one short factual sentence. Answer with that sentence alone."
_JSON = {"Content-Type": "application/json"}
_TOKENS = 500  # far more than a sentence has, since some models think aloud first
_LONGEST_ANSWER = 1_000_000  # bytes
_LONGEST_ANSWER_SECONDS = 180.0
_TRIES = 5
_LONGEST_WAIT = 60.0
_TIMEOUT = httpx.Timeout(120.0, connect=5.0)
# The picture was on its way: it may be what the endpoint did not survive.
_AFTER_SENDING = (httpx.ReadTimeout, httpx.ReadError, httpx.RemoteProtocolError)
# What may be over in a moment: time limits, locks, too many requests; besides every 5xx.
_FLEETING = {408, 409, 425, 429}
# What is wrong with every request alike: the address, the key, the model's name, the account.
_ALL_ALIKE = {401, 402, 403, 404, 405, 407}


@dataclass(frozen=True)
class Endpoint:
    """Where the pictures go: the base `url`, and the `key`, which is never shown."""

    url: str
    key: str = field(repr=False)

    @property
    def host(self) -> str:
        """The host, and the port where it is named."""
        return httpx.URL(self.url).netloc.decode()

    @property
    def is_openai(self) -> bool:
        """Whether it is OpenAI itself."""
        name = httpx.URL(self.url).host
        return name == "openai.com" or name.endswith(".openai.com")


@dataclass(frozen=True)
class DryRun:
    """What captioning would send: so many `photos` to `host`, in so many `bytes`. As text it is a sentence."""

    photos: int
    host: str
    bytes: int

    def __str__(self) -> str:
        return (
            f"{self.photos:,} photos would be sent to {self.host}, {self.bytes / 1e6:,.1f} MB in all; nothing was sent."
        )


@dataclass(frozen=True)
class _Crash:
    """The `trouble` with one photo on each try, and how many others were answered `before` the first try failed."""

    trouble: str
    before: int


class _Batch:
    """What the requests of one batch know of each other."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self.reason: CaptionerUnavailableError | KeyboardInterrupt | None = None
        self.answers = 0
        self._crashes = 0  # since the last answer
        self._lock = threading.Lock()

    def stop(self, reason: CaptionerUnavailableError | KeyboardInterrupt) -> None:
        """Begin no request any more, and try none again."""
        with self._lock:
            self.reason = self.reason or reason
        self.stopped.set()

    def answered(self) -> None:
        with self._lock:
            self.answers += 1
            self._crashes = 0

    def crashed(self) -> int:
        """How many photos the endpoint has now failed on in a row."""
        with self._lock:
            self._crashes += 1
            return self._crashes


class OpenAICaptioner:
    """Writes captions as `indexer.describe.captioner.Captioner` says. Make one with `load_openai`."""

    def __init__(
        self, model: str, endpoint: Endpoint, *, requests: int = 4, pause: Callable[[float], object] | None = None
    ) -> None:
        """At most so many `requests` are under way at once; `pause` is called with the seconds between two tries."""
        self.name = f"openai:{model}"
        self.batch_size, self.side = 8 * requests, LARGEST
        self._model, self._endpoint, self._requests, self._pause = model, endpoint, requests, pause

    def caption(self, images: list[Image.Image]) -> list[Described]:
        """One caption for each photo (RGB), or why the endpoint refuses this one, in their order.

        Where the endpoint is found down, knows no such address or refuses the key, or Ctrl+C comes, that stands in the
        place of the photos without an answer: the others' have cost time or money.

        Raises:
            CaptionerUnavailableError: no connection can be made.
        """
        batch = _Batch()
        headers = {"Authorization": f"Bearer {self._endpoint.key}"} if self._endpoint.key else {}
        try:
            opened = httpx.Client(headers=headers, timeout=_TIMEOUT)
        except Exception as error:  # certificates or a proxy of the environment that cannot be used
            raise self._unavailable(f"no connection can be made ({first_line(error)})") from error
        with opened as client, ThreadPoolExecutor(self._requests, thread_name_prefix="caption") as pool:
            futures = [pool.submit(self._ask, client, image, batch) for image in images]
            try:
                wait(futures)
            except KeyboardInterrupt as stop:
                batch.stop(stop)  # none is begun any more; those under way are paid for, and are waited for
        return [self._judged(future.result(), batch) for future in futures]

    def _ask(self, client: httpx.Client, image: Image.Image, batch: _Batch) -> Caption | CaptionError | _Crash | None:
        """What came of one photo: a `_Crash` may be its own fault or the endpoint's, which the others of its batch
        will show; None where the batch was stopped."""
        if batch.stopped.is_set():
            return None
        try:
            body = _body(self._model, self._endpoint, image)
        except Exception as error:  # in Pillow; before anything is sent, so the others need not be sent again
            return CaptionError(f"it cannot be made into a JPEG ({first_line(error)})")
        try:
            return self._answer(client, body, batch)
        except CaptionerUnavailableError as error:
            batch.stop(error)
            return None

    def _answer(self, client: httpx.Client, body: bytes, batch: _Batch) -> Caption | CaptionError | _Crash | None:
        before = 0
        for attempt in range(_TRIES):
            asked: float | None = None
            try:
                answer = self._post(client, body)
            except httpx.HTTPError as error:
                trouble, crashed = f"it does not answer ({first_line(error)})", isinstance(error, _AFTER_SENDING)
            else:
                status = answer.status_code
                if status == 200:
                    said = self._read(answer)
                    batch.answered()
                    return said
                trouble, crashed = f"it answers {status}: {_complaint(answer, self._endpoint.key)}", status >= 500
                if status in _ALL_ALIKE or status < 400 or "insufficient_quota" in answer.text:
                    raise self._unavailable(trouble)
                if status not in _FLEETING and status < 500:
                    return CaptionError(f"{self._endpoint.host} refuses it ({_complaint(answer, self._endpoint.key)})")
                asked = _retry_after(answer)
            if attempt == 0:
                before = batch.answers
            if attempt < _TRIES - 1:
                seconds = min(_LONGEST_WAIT, asked if asked is not None else 2.0**attempt)
                (batch.stopped.wait if self._pause is None else self._pause)(seconds)
                if batch.stopped.is_set():
                    return None
        if not crashed:
            raise self._unavailable(trouble)
        if batch.answers == before and batch.crashed() >= self._requests:
            raise self._unavailable(trouble)  # wherever one asks, there is no answer
        return _Crash(trouble, before)

    def _judged(self, one: Caption | CaptionError | _Crash | None, batch: _Batch) -> Described:
        if isinstance(one, _Crash):
            if batch.answers > one.before:
                # Others were answered while this one failed again and again: some servers crash on a picture.
                return CaptionError(f"{self._endpoint.host} fails on it ({one.trouble})")
            return batch.reason or self._unavailable(one.trouble)
        return one or batch.reason or self._unavailable("it was not asked")

    def _post(self, client: httpx.Client, body: bytes) -> httpx.Response:
        """The answer, read as far as a sentence about a photo goes in length and time: a server that is no captioner
        may send without end."""
        until = time.monotonic() + _LONGEST_ANSWER_SECONDS
        with client.stream("POST", f"{self._endpoint.url}/chat/completions", content=body, headers=_JSON) as answer:
            content = b""
            for piece in answer.iter_bytes():
                content += piece
                if len(content) > _LONGEST_ANSWER or time.monotonic() > until:
                    raise self._unavailable("its answer has no end")
        headers = {name: value for name, value in answer.headers.items() if name in ("content-type", "retry-after")}
        return httpx.Response(answer.status_code, headers=headers, content=content)

    def _read(self, answer: httpx.Response) -> Caption | CaptionError:
        try:
            message: dict[str, Any] = answer.json()["choices"][0]["message"]
            text, refusal = message.get("content"), message.get("refusal")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise self._unavailable("it does not answer as a chat completion does") from None
        if not isinstance(text, str):
            said = str(refusal)
            if self._endpoint.key:
                said = said.replace(self._endpoint.key, "…")
            return CaptionError(f"the captioner {self.name} refuses it ({said[:200]})")
        text = re.sub(r"<think>.*?(?:</think>|\Z)", "", text, flags=re.DOTALL)
        return Caption(tidy(text, PROMPT))

    def _unavailable(self, trouble: str) -> CaptionerUnavailableError:
        return CaptionerUnavailableError(
            f"The endpoint {self._endpoint.host} cannot write captions with the model {self._model}: {trouble}. Check "
            "SIGHTLINE_OPENAI_URL, SIGHTLINE_OPENAI_KEY and the model's name; the next `sightline index` goes on from "
            "here."
        )


def load_openai(model: str) -> OpenAICaptioner:
    """The captioner for a `model` of the endpoint that the environment names. Opens no connection.

    Raises:
        CaptionerUnavailableError: the address or the key in the environment cannot be used, or OpenAI's key is missing.
    """
    endpoint = endpoint_from_environment()
    if endpoint.is_openai and not endpoint.key:
        raise CaptionerUnavailableError(
            f"{endpoint.host} needs a key: set SIGHTLINE_OPENAI_KEY or OPENAI_API_KEY, or name an endpoint of your own "
            "in SIGHTLINE_OPENAI_URL."
        )
    return OpenAICaptioner(model, endpoint)


def endpoint_from_environment() -> Endpoint:
    """Where `SIGHTLINE_OPENAI_URL` points (else OpenAI), with the key that belongs to it.

    The key is `SIGHTLINE_OPENAI_KEY`. Without it `OPENAI_API_KEY` goes to OpenAI, and to nobody else.

    Raises:
        CaptionerUnavailableError: the address or the key cannot be one.
    """
    url = os.environ.get("SIGHTLINE_OPENAI_URL", "").strip().rstrip("/") or URL
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL("")
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise CaptionerUnavailableError(
            "SIGHTLINE_OPENAI_URL is no address: it looks like http://127.0.0.1:11434/v1, with the version at its end."
        )
    key = os.environ.get("SIGHTLINE_OPENAI_KEY", "").strip()
    if not key and Endpoint(url, "").is_openai:
        key = os.environ.get("OPENAI_API_KEY", "").strip()
    if not (key.isascii() and key.isprintable()):
        raise CaptionerUnavailableError("SIGHTLINE_OPENAI_KEY or OPENAI_API_KEY holds characters that no key has.")
    return Endpoint(url, key)


def dry_run(model: str, images: Iterable[Image.Image]) -> DryRun:
    """What captioning `images` with `model` would send. It sends nothing, and needs no key.

    Raises:
        CaptionerUnavailableError: the address or the key in the environment cannot be used.
    """
    endpoint = endpoint_from_environment()
    sizes = [len(_body(model, endpoint, image)) for image in images]
    return DryRun(len(sizes), endpoint.host, sum(sizes))


def privacy_note() -> str:
    """A sentence to show before captioning begins: where the pictures go."""
    host = endpoint_from_environment().host
    return (
        f"Each photo is sent to {host}, at most {LARGEST} pixels large and without EXIF: unless that is this machine, "
        "your pictures leave it."
    )


def _body(model: str, endpoint: Endpoint, image: Image.Image) -> bytes:
    picture = base64.b64encode(_jpeg(image)).decode("ascii")
    content = [
        {"type": "text", "text": PROMPT},
        {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{picture}"}},
    ]
    # OpenAI's newer models refuse the old name, and other servers may not know the new one.
    limit = "max_completion_tokens" if endpoint.is_openai else "max_tokens"
    request = {"model": model, limit: _TOKENS, "messages": [{"role": "user", "content": content}]}
    return json.dumps(request).encode()


def _jpeg(image: Image.Image) -> bytes:
    small = image.convert("RGB")
    small.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    # Pillow takes a JPEG's comment along from here, unasked.
    small.info = {}
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _complaint(answer: httpx.Response, key: str) -> str:
    """What an error document says, in one line, without the key, which some servers repeat."""
    try:
        document = answer.json()
        error = document.get("error", document)
        text = error.get("message") if isinstance(error, dict) else error
    except (ValueError, AttributeError):
        text = None
    text = str(text or answer.reason_phrase)
    return tidy(text.replace(key, "…") if key else text)[:200]


def _retry_after(answer: httpx.Response) -> float | None:
    """The seconds that the server asks to wait, which it may also say as a date (RFC 9110, 10.2.3)."""
    value = answer.headers.get("Retry-After", "")
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None

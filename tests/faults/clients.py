"""Sends hostile requests to a real server, and looks whether any of them costs more than its own answer.

    python -m tests.faults.clients --requests 20000 --seed 1 [--crowd 1000]

A server in a process of its own, with a token, over the photos that installed packages carry. Requests are written to
its socket byte for byte: sound ones of every address, and then damaged as ill will and broken programs damage them.
Whatever comes back must be whole: an answer below 500, or a 503 that says when to come again; a problem document
where it is an error; never the token. Then a crowd asks all at once. The table tells what was answered, and what the
server took at most. Request number n of a seed is always the same.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from PIL import Image

from indexer.demo import gather_samples
from indexer.progress import Silent
from indexer.report import IndexOptions
from indexer.run import run_index
from search.home import Home

ROOT = Path(__file__).parents[2]
TOKEN = "t0ken-that-nobody-may-see"
SECONDS = 30.0
HALF_SECONDS = 1.5
WORKERS = 8
SOUND = "as it should be"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_JPEG = io.BytesIO()
Image.linear_gradient("L").convert("RGB").save(_JPEG, "JPEG")
_FORM = b"application/x-www-form-urlencoded"
_MULTIPART = b"multipart/form-data; boundary=B"


@dataclass
class Tally:
    """What was answered to one kind of request."""

    tried: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0


@dataclass
class Outcome:
    """What was answered to all.

    Attributes:
        tallies: by kind of request.
        wrong: what must not happen and did, a sentence each.
        before, peak, after: the server's memory in MiB.
    """

    tallies: dict[str, Tally] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    before: int = 0
    peak: int = 0
    after: int = 0


@dataclass
class Plain:
    """A sound request, in its parts."""

    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""

    def raw(self) -> bytes:
        lines = [self.method + b" " + self.target + b" HTTP/1.1", *(b": ".join(one) for one in self.headers)]
        return b"\r\n".join([*lines, b"", b""]) + self.body


_NASTY = (
    *(b"../" * 8 + b"etc/passwd", b"..%2f..%2fetc%2fpasswd", b"%c0%af", b"%ed%a0%80", b"%00", b"\xff\xfe", b"", b"%"),
    *(b"9" * 400, b"-1", b"NaN", b"1e999", b"a" * 20_000, b"%F0%9F%98%80", b"' OR 1=1 --", b"{{7*7}}", b"\t", b'"'),
    *(b"*", b"null", b"[]", b"http://evil.example/", b"//evil.example", b"\\\\evil\\share", b"\x1b[2J"),
)
_HEADERS = (
    *((b"Host", b"evil.example"), (b"Host", b"a@localhost"), (b"Host", b"localhost."), (b"Host", b"[::1]:x")),
    *((b"Content-Length", b"18446744073709551616"), (b"Content-Length", b"-1"), (b"Content-Length", b"0")),
    *((b"Transfer-Encoding", b"chunked"), (b"Transfer-Encoding", b"gzip"), (b"Content-Encoding", b"gzip")),
    (b"Range", b"bytes=" + b",".join(b"%d-%d" % (at, at) for at in range(0, 2000, 2))),
    *((b"Range", b"bytes=-0"), (b"Range", b"bytes=5-2"), (b"If-None-Match", b'"a",' * 3000), (b"If-Range", b"\xff")),
    *((b"Last-Event-ID", b"\xff"), (b"Accept-Encoding", b"gzip;q=nan, *;q=-1"), (b"Expect", b"100-continue")),
    *((b"Origin", b"http://evil.example"), (b"Origin", b"null"), (b"Sec-Fetch-Site", b"cross-site")),
    *((b"Authorization", b"Bearer \xff"), (b"Authorization", b"Basic " + b"=" * 9000), (b"Cookie", b";=" * 5000)),
    *((b"Upgrade", b"websocket"), (b"X-Forwarded-For", b"\xff, 1"), (b"X-Forwarded-Proto", b"\x00")),
    *((b"Content-Type", b"multipart/form-data"), (b"Content-Type", b"application/json; charset=utf-7")),
)
_JSON = ("[" * 20_000, '{"a":' * 10_000, '"\\ud800"', "NaN", "1e999", "9" * 6000, '"\\u0000"', "[[],[]]", "", '{"a":1')


def plain(dice: random.Random, ids: list[str]) -> Plain:
    """A request that the server answers well."""
    photo = dice.choice(ids)
    get = [
        *("/", "/docs", "/static/js/main.js", "/openapi.json", "/healthz", "/readyz", "/metrics", "/api/status"),
        *(f"/api/photos/{photo}{rest}" for rest in ("", "/thumb?size=small", "/file", "/picture", "/similar?limit=3")),
        *("/api/search?q=a+dog&limit=5", "/api/search?facets=true&collapse=1", "/api/suggest?q=be", "/api/searches"),
        *("/api/jobs?limit=3", "/api/jobs/1", "/api/failures", "/api/duplicates?limit=2", "/api/models"),
    ]
    write = [
        ("POST", "/api/searches", b"application/json", b'{"name": "a", "q": "b"}'),
        ("PUT", "/api/searches/1", b"application/json", b'{"name": "a"}'),
        ("DELETE", "/api/searches/1", b"", b""),
        ("DELETE", "/api/jobs/1", b"", b""),
        ("PUT", f"/api/photos/{photo}/caption", b"application/json", b'{"caption": ""}'),
        ("POST", "/api/duplicates/dismissals", b"application/json", f'{{"photos": ["{photo}", "{ids[0]}"]}}'.encode()),
        ("POST", "/api/archive", _FORM, b"photos=" + photo.encode()),
        ("POST", "/api/search", _FORM, b"q=a+cat&like=" + photo.encode()),
        ("POST", "/api/search", _MULTIPART, _part("image", _JPEG.getvalue(), b'; filename="a"') + b"--B--\r\n"),
        ("POST", "/api/search", _MULTIPART, _part("q", b"a cat") + _part("limit", b"3") + b"--B--\r\n"),
    ]
    headers = [(b"Host", b"localhost"), (b"Connection", b"close"), (b"Authorization", b"Bearer " + TOKEN.encode())]
    if dice.random() < 0.5:
        return Plain(b"GET", dice.choice(get).encode(), headers)
    method, target, kind, body = dice.choice(write)
    headers += [(b"Content-Type", kind), (b"Content-Length", str(len(body)).encode())]
    return Plain(method.encode(), target.encode(), headers, body)


def _part(name: str, content: bytes, rest: bytes = b"") -> bytes:
    return (
        b'--B\r\nContent-Disposition: form-data; name="' + name.encode() + b'"' + rest + b"\r\n\r\n" + content + b"\r\n"
    )


def _target(one: Plain, dice: random.Random) -> bytes:
    pieces = re.split(rb"([/?&=])", one.target)
    for _ in range(dice.choice((1, 1, 2))):
        pieces[dice.randrange(len(pieces))] = dice.choice(_NASTY)
    one.target = b"".join(pieces)
    return one.raw()


def _method(one: Plain, dice: random.Random) -> bytes:
    names = (b"OPTIONS", b"TRACE", b"CONNECT", b"PATCH", b"HEAD", b"DELETE", b"PUT", b"POST", b"get", b"B" * 300, b"")
    one.method = dice.choice(names)
    return one.raw()


def _headers(one: Plain, dice: random.Random) -> bytes:
    for _ in range(dice.choice((1, 1, 3))):
        name, value = dice.choice(_HEADERS)
        if dice.random() < 0.5:
            one.headers = [kept for kept in one.headers if kept[0] != name]
        one.headers.insert(dice.randrange(len(one.headers) + 1), (name, value))
    return one.raw()


def _body(one: Plain, dice: random.Random) -> bytes:
    is_json = any(value == b"application/json" for _, value in one.headers)
    if is_json and dice.random() < 0.7:
        nasty = dice.choice(_JSON).encode()
        one.body = nasty if dice.random() < 0.5 else re.sub(rb'"[^"]*"(?=[,\]}])', lambda _: nasty, one.body)
    else:
        one.body = _noise(one.body, dice)
    one.headers = [kept for kept in one.headers if kept[0] != b"Content-Length"]
    if dice.random() < 0.3:  # in chunks
        one.headers.append((b"Transfer-Encoding", b"chunked"))
        one.body = b"%x\r\n" % len(one.body) + one.body + b"\r\n0\r\n\r\n" if one.body else b"0\r\n\r\n"
        one.body = _noise(one.body, dice) if dice.random() < 0.3 else one.body
    else:
        one.headers.append((b"Content-Length", str(len(one.body)).encode()))
    return one.raw()


def _bytes(one: Plain, dice: random.Random) -> bytes:
    return _noise(one.raw(), dice)


def _noise(content: bytes, dice: random.Random) -> bytes:
    broken = bytearray(content)
    for _ in range(dice.choice((1, 2, 8))):
        at = dice.randrange(len(broken) + 1)
        broken[at : at + dice.choice((0, 1, 4))] = dice.choice((dice.randbytes(3), b"\r\n", b"\0", *_NASTY))
    return bytes(broken)


KINDS: dict[str, Callable[[Plain, random.Random], bytes]] = {
    SOUND: lambda one, dice: one.raw(),
    "target": _target,
    "method": _method,
    "headers": _headers,
    "body": _body,
    "bytes": _bytes,
}


def hostile(seed: int, number: int, ids: list[str]) -> tuple[str, bytes]:
    """The kind and the bytes of request `number`."""
    dice = random.Random(f"{seed} {number}")
    kind = list(KINDS)[number % len(KINDS)]
    return kind, KINDS[kind](plain(dice, ids), dice)


def ask(port: int, request: bytes, patience: float = SECONDS) -> bytes:
    """What comes back; nothing where the server waits for the rest of what it takes for half a request."""
    answer = b""
    connection = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
    with connection, contextlib.suppress(ConnectionError, TimeoutError):
        connection.sendall(request)
        connection.settimeout(patience)
        while not _is_whole(answer) and (block := connection.recv(65536)):
            answer += block
            connection.settimeout(1.0)
    return answer.removeprefix(_CONTINUE)


def _is_whole(answer: bytes) -> bool:
    head, _, body = answer.removeprefix(_CONTINUE).partition(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: (\d+)", head.lower())
    return (length is not None and len(body) >= int(length[1])) or b"text/event-stream" in head


def wrong_with(answer: bytes) -> str | None:
    """What must not be in an answer, in words; None: nothing. No answer at all is one to half a request."""
    if not answer:
        return None
    head, _, body = answer.partition(b"\r\n\r\n")
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", head)
    if found is None:
        return "it is no answer"
    status = int(found[1])
    if status >= 500 and not (status == 503 and b"retry-after:" in head.lower()):
        return f"its status is {status}"
    if b"x-content-type-options: nosniff" not in head.lower():
        return f"a {status} has no security headers"
    if TOKEN.encode() in answer:
        return "it holds the token"
    if b"root:x:" in body:
        return "it is another file"
    if status >= 400 and body:
        problem = b"content-type: application/problem+json" in head.lower()
        # Another answer may follow: what was put into a request can be one of its own.
        if not problem or json.JSONDecoder().raw_decode(body.decode("latin-1"))[0]["status"] != status:
            return f"a {status} is no problem document"
    return None


@contextlib.contextmanager
def served(home: Home, log: Path, level: str = "info", **variables: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server with `TOKEN` that writes its log in JSON; gives its process and its port, and kills it in the end."""
    command = [sys.executable, "-m", "sightline", "serve", "--json", "--port", "0", "--home", str(home.path)]
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [*command, "--log-level", level],
            cwd=ROOT,
            env={**os.environ, "SIGHTLINE_TOKEN": TOKEN, "SIGHTLINE_LOG_FORMAT": "json", **variables},
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
        try:
            assert process.stdout is not None
            address = json.loads(process.stdout.readline())["address"]
            yield process, int(address.rstrip("/").rpartition(":")[2])
        finally:
            process.kill()
            process.communicate()


def _ids(port: int) -> list[str]:
    # By meaning: when this is answered, the model is loaded.
    line = "GET /api/search?q=a+dog&all=1 HTTP/1.1"
    request = f"{line}\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n"
    return re.findall(r'"id":"([0-9a-f]{32})"', ask(port, request.encode()).decode())


async def _crowd(port: int, people: int, ids: list[str], outcome: Outcome) -> None:
    tally = outcome.tallies.setdefault("all at once", Tally())

    async def one(number: int) -> None:
        dice = random.Random(number)
        request = plain(dice, ids).raw()
        began = time.perf_counter()
        try:
            async with asyncio.timeout(120):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(request)
                answer = await reader.read(-1)
                writer.close()
        except (OSError, TimeoutError) as error:
            outcome.wrong.append(f"one of a crowd got {type(error).__name__}")
            return
        tally.tried += 1
        tally.statuses[answer[9:12].decode("latin-1") or "none"] += 1
        tally.longest = max(tally.longest, time.perf_counter() - began)
        if sentence := wrong_with(answer) or (None if answer else "there is none"):
            outcome.wrong.append(f"an answer to one of a crowd: {sentence}")

    await asyncio.gather(*(one(number) for number in range(people)))


def attack(pid: int, port: int, requests: int, seed: int, crowd: int = 0) -> Outcome:
    """Send `requests` hostile requests to a server, and then let a `crowd` ask at once."""
    outcome, done, process = Outcome(), threading.Event(), psutil.Process(pid)
    ids = _ids(port)
    outcome.before = process.memory_info().rss >> 20

    def watch() -> None:
        while not done.wait(0.1):
            with contextlib.suppress(psutil.Error):
                outcome.peak = max(outcome.peak, process.memory_info().rss >> 20)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        with ThreadPoolExecutor(WORKERS) as workers:
            list(workers.map(lambda number: _one(port, seed, number, ids, outcome), range(requests)))
        if crowd:
            with ThreadPoolExecutor(1) as apart:  # from a test's browser, say, whose loop runs in this thread
                apart.submit(asyncio.run, _crowd(port, crowd, ids, outcome)).result()
    finally:
        done.set()
        watching.join()
    if len(_ids(port)) != len(ids):
        outcome.wrong.append("the server does not answer any more as it did")
    outcome.after = process.memory_info().rss >> 20
    return outcome


def wrong_in_log(log: Path) -> list[str]:
    """Lines that tell of a fault, or the token."""
    lines = log.read_text().splitlines()
    return [f"the log: {line[-600:]}" for line in lines if TOKEN in line or json.loads(line).get("exception")]


def _one(port: int, seed: int, number: int, ids: list[str], outcome: Outcome) -> None:
    kind, request = hostile(seed, number, ids)
    tally = outcome.tallies.setdefault(kind, Tally())
    began = time.perf_counter()
    answer = ask(port, request, SECONDS if kind == SOUND else HALF_SECONDS)
    tally.tried += 1
    tally.longest = max(tally.longest, time.perf_counter() - began)
    tally.statuses[answer[9:12].decode("latin-1") or "none"] += 1
    if sentence := wrong_with(answer) or (None if answer or kind != SOUND else "there is none"):
        outcome.wrong.append(f"the answer to {kind} {number}: {sentence}")


def table(outcome: Outcome) -> str:
    """The outcome in lines."""
    statuses = sorted({status for tally in outcome.tallies.values() for status in tally.statuses})
    rows = [["request", "tried", *statuses, "longest ms"]]
    for kind, tally in outcome.tallies.items():
        counts = [str(tally.statuses[status]) for status in statuses]
        rows.append([kind, str(tally.tried), *counts, f"{tally.longest * 1e3:.0f}"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in rows]
    lines.append(f"the server took {outcome.before} MiB before, {outcome.peak} at most, {outcome.after} after")
    return "\n".join(lines + [f"WRONG: {sentence}" for sentence in outcome.wrong])


def main() -> int:
    """Attack and print; the exit status is 1 where something happened that must not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--crowd", type=int, default=1000)
    options = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        folder, log = Path(place), Path(place) / "log"
        gather_samples(folder / "photos")
        home = Home(folder / "home")
        run_index(home, [folder / "photos"], IndexOptions(model="starter", captions="off"), Silent())
        with served(home, log) as (process, port):
            outcome = attack(process.pid, port, options.requests, options.seed, options.crowd)
        outcome.wrong.extend(wrong_in_log(log))
    print(table(outcome))
    print(f"in {time.perf_counter() - began:.0f} s")
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())

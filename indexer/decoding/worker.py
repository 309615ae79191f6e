"""A worker: a process that decodes, asked and watched, and started anew whenever it has ended."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from indexer.decoding.answers import Answer, seconds, sentence
from indexer.decoding.channel import BrokenMessageError, Buffer
from indexer.decoding.child import NO_MEMORY, PATIENCE
from indexer.decoding.process import Death, Position, Process
from indexer.pixels import DecodingRoom
from search.errors import DecodingError, PhotoError, PhotoForNowError, PhotoMemoryError

if TYPE_CHECKING:
    from indexer.decoding.settings import DecodingSettings

_START_SECONDS = 120.0
_ATTEMPTS = 8
"""To start a process: where memory is short, the system may end it before it is ready."""
_BEGINNINGS = 3
"""How often a process may die before it begins with what it was asked, until the first of these photos is to blame."""
_TRIES = 2
"""How often others may end the decoding of a photo in one request, until it is left to another day."""
_LEAST_STILL = 0.5
"""Seconds by the clock in which a process that works has some processor time, though others go first."""
_SHARED = 256 * 2**20
"""Bytes in memory that are no fault of a photo's: the program itself, and what it shares."""


class _Died(Exception):
    """The process has ended in the midst of a request."""

    def __init__(self, death: Death) -> None:
        super().__init__()
        self.death = death


class Worker:
    """One at a time may ask it; any thread may watch it or close it.

    Attributes:
        seconds: processor time that its answers have taken.
        closed: whether it is of no use any more.
    """

    def __init__(self, settings: DecodingSettings, tasks: str, *, shared: bool, room: DecodingRoom, free: int) -> None:
        """`tasks` names the module of what it can be asked. It decodes pictures of up to `free` pixels without taking
        `room`. `shared` is whether pixels come through shared memory where the platform has it."""
        self._settings = settings
        self._tasks = tasks
        self._shared = shared
        self._room = room
        self._free = free
        self._lock = threading.Lock()
        self._process: Process | None = None
        self._watched: tuple[Process | None, Position | None] = None, None
        self._clock = 0.0  # of the time that it is at this photo, as the watcher saw it
        self._before = 0.0  # processor time that it had taken before that
        self.seconds = 0.0
        self.closed = False

    @property
    def pid(self) -> int | None:
        """The number of the process that there is now."""
        process = self._process
        return None if process is None else process.pid

    def start(self) -> Process:
        """Start it, if it is not there, without waiting until it is ready. Raises `DecodingError`."""
        with self._lock:
            if self.closed:
                raise DecodingError("Decoding was stopped.")
            if self._process is None:
                memory = self._settings.memory_bytes
                self._process = Process(self._tasks, self._settings.seconds, memory, shared=self._shared)
            return self._process

    def ask(self, task: str, contents: Sequence[Buffer], arguments: dict[str, Any]) -> list[Answer | PhotoError]:
        """Do a task with each of some photos. One that crashes the process, or takes too much time or memory, costs no
        other.

        Raises:
            DecodingError: no process can be started, or this was closed meanwhile.
        """
        return self._asked(task, contents, arguments, 0)

    def _asked(
        self, task: str, contents: Sequence[Buffer], arguments: dict[str, Any], tried: int
    ) -> list[Answer | PhotoError]:
        """As `ask`, where others have ended so many tries already."""
        found: dict[int, Answer | PhotoError] = {}
        left = list(range(len(contents)))
        lost = 0
        while left:
            process = self._ready()
            try:
                answers = self._answers(process, task, [contents[place] for place in left], arguments)
            except _Died as died:
                self._end(process)
                death = died.death
                if death.at is None:
                    lost += 1
                    if lost == _BEGINNINGS:
                        found[left.pop(0)] = death.why
                    continue
                place, tries = left.pop(death.at), tried + death.is_of_others
                again = not death.surely and tries < _TRIES
                found[place] = self._again(task, contents[place], arguments, tries) if again else death.why
                continue
            if process.asked > 1 and any(isinstance(answer, PhotoMemoryError) for answer in answers):
                self._end(process)  # earlier photos may have left too little of it: a new process has all
                continue
            found.update(zip(left, answers, strict=True))
            break
        return [found[place] for place in range(len(contents))]

    def _again(self, task: str, content: Buffer, arguments: dict[str, Any], tried: int) -> Answer | PhotoError:
        """What comes of a photo in a new process, alone: an earlier one may have done the harm of which it died."""
        (answer,) = self._asked(task, [content], arguments, tried)
        return Answer(answer.fields, bytes(answer.payload)) if isinstance(answer, Answer) else answer

    def watch(self, elapsed: float) -> None:
        """End the process if it is at one photo for too long, or with too much memory. `elapsed` seconds have passed
        since this was called last."""
        process = self._process
        position = None if process is None else process.position
        seen, self._watched = self._watched, (process, position)
        if process is None or position is None or seen != (process, position):
            self._clock = 0.0
            self._before = process.processor_seconds() if process is not None and position is not None else 0.0
            return
        self._clock += elapsed
        if not process.ready:
            if self._clock >= _START_SECONDS:
                process.kill_at(position, PhotoForNowError("its decoding did not start"))
            return
        if process.memory() > self._settings.memory_bytes + _SHARED:  # not all platforms have a limit for that
            process.kill_at(position, PhotoMemoryError(NO_MEMORY))
            return
        most = self._settings.seconds
        if self._clock < most:
            return
        # Only what the processor did for it is this photo's doing: the machine may be busy or have been stopped.
        worked = process.processor_seconds() - self._before
        if worked >= most:
            process.kill_at(position, PhotoError(f"it takes longer than {most:g} s to decode"))
        elif self._clock >= _LEAST_STILL and worked < self._clock / PATIENCE:
            process.kill_at(position, PhotoForNowError(f"its decoding stood still for {self._clock:.0f} s"))

    def close(self) -> None:
        """End the process for good; whoever waits for it has a `DecodingError`."""
        with self._lock:
            process = self._process
            self.closed = True
            if process is not None and not process.kill():  # else whoever waits for it does the rest
                process.end()
                self._process = None

    def _ready(self) -> Process:
        said = ""
        for attempt in range(_ATTEMPTS):
            process = self.start()
            if process.ready:
                return process
            with process.working():
                said = process.wait_until_ready()
            if process.ready:
                return process
            self._end(process)
            if said:
                break
            time.sleep(min(1.0, 0.02 * 2**attempt))
        raise DecodingError(f"The process that decodes photos does not start: {said or 'it dies each time'}.")

    def _answers(
        self, process: Process, task: str, contents: Sequence[Buffer], arguments: dict[str, Any]
    ) -> list[Answer | PhotoError]:
        process.begin(len(contents))
        with process.working(), contextlib.ExitStack() as held:
            try:
                process.channel.send({"task": task, "arguments": arguments, "free": self._free}, contents)
                said, payloads = process.channel.receive()
                while "answers" not in said:
                    held.close()
                    self._hear(process, said, held)
                    said, payloads = process.channel.receive()
                answers = [_understood(one, payload) for one, payload in zip(said["answers"], payloads, strict=True)]
                if len(answers) != len(contents):
                    raise BrokenMessageError
                self.seconds += seconds(said["seconds"])
                return answers
            except MemoryError:
                raise _Died(Death(0, PhotoMemoryError(NO_MEMORY), True)) from None
            except (
                OSError,
                BrokenMessageError,
                ValueError,
                TypeError,
                LookupError,
                AttributeError,
                OverflowError,
            ) as error:
                raise _Died(process.autopsy()) from error

    def _hear(self, process: Process, said: dict[str, Any], held: contextlib.ExitStack) -> None:
        """What it says before it has answered: which photo it is at, or how many pixels it needs room for."""
        if "at" in said:
            process.told = int(said["at"])
        elif pixels := int(said["room"]):
            if pixels < 0:
                raise BrokenMessageError
            process.waits = True
            held.enter_context(self._room.taken(pixels))
            process.waits = False
            process.channel.send({"go": True})

    def _end(self, process: Process) -> None:
        with self._lock:
            process.end()
            self._process = None
            if self.closed:
                raise DecodingError("Decoding was stopped.")


def _understood(said: dict[str, Any], payload: Buffer) -> Answer | PhotoError:
    if "error" in said:
        kind = PhotoMemoryError if said.get("memory") else PhotoForNowError if said.get("later") else PhotoError
        return kind(sentence(said["error"]))
    return Answer(dict(said["fields"]), payload)

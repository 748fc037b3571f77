"""A worker process, which trains entries of the queue one after another, on its parent's orders."""

import json
import logging
import os
import queue as mailbox
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal, cast

from pydantic import ValidationError

from metaviz.config.options import OptionError
from metaviz.config.run_config import RunConfig
from metaviz.runs.model.events import Ended, Event, State
from metaviz.runs.storage.queue import DAMAGED_ENTRY, Entry, EntryState, Queue
from metaviz.runs.storage.store import StoreError, open_run
from metaviz.runs.storage.worker_process import WorkerLock
from metaviz.training.resume import resume_sessions
from metaviz.training.search.steps import after_run
from metaviz.training.session import Session, open_sessions

Order = Literal["pause", "resume", "stop", "abort", "quit"]
ORDERS: tuple[Order, ...] = ("pause", "resume", "stop", "abort", "quit")
LEFT = "Its worker was told to leave; everything until here is kept, and the run can be resumed."
_ENDS: dict[str, tuple[State, EntryState, str]] = {
    "stop": ("stopped", "stopped", "Stopped; everything until here is kept."),
    "abort": ("aborted", "aborted", "Aborted."),
    "quit": ("interrupted", "interrupted", LEFT),
}

_log = logging.getLogger("metaviz.queue")

Say = Callable[[dict[str, object]], None]


class Orders:
    """Orders of the parent that were not carried out yet; the end of its pipe means `quit`."""

    def __init__(self) -> None:
        """Have nothing to do."""
        # Both may be entered again by a signal's handler.
        self._orders: mailbox.SimpleQueue[Order] = mailbox.SimpleQueue()
        self._session: Session | None = None
        self._lock = threading.RLock()
        self.leaving = False

    def watch(self, session: Session | None) -> None:
        """Cut the evaluations of this run short once it is to end; None between two runs.

        An order to stop or abort that came between two runs concerns neither.
        """
        with self._lock:
            self._session = session
            if session is None and not self.leaving:
                self._orders = mailbox.SimpleQueue()

    def give(self, order: Order) -> None:
        """Pass an order on; for use from any thread."""
        with self._lock:
            self.leaving = self.leaving or order == "quit"
            self._orders.put(order)
            if order in _ENDS and self._session is not None:
                self._session.cut_short()

    def take(self, *, wait: bool) -> Order | None:
        """Return the next order; None where there is none and it is not to be waited for."""
        try:
            return self._orders.get(block=wait)
        except mailbox.Empty:
            return None

    def listen(self, handle: int) -> None:
        """Read orders, one a line, until the pipe ends; runs in a thread of its own.

        Reads the pipe itself: a thread that waits inside Python's stdin breaks the interpreter's
        end.
        """
        rest = b""
        while True:
            try:
                read = os.read(handle, 4096)
            except OSError:
                read = b""
            if not read:
                self.give("quit")
                return
            *lines, rest = (rest + read).split(b"\n")
            for line in lines:
                order = next((o for o in ORDERS if o.encode() == line.strip()), None)
                if order is not None:
                    self.give(order)


class QueueWorker:
    """Claims entries until none waits, the queue is paused, or an order ends it."""

    def __init__(self, home: Path, runs: Path, orders: Orders, say: Say) -> None:
        """Open the queue in a data folder. Raises: StoreError with one sentence."""
        self._queue = Queue(home)
        self._lock = WorkerLock(home)
        self._home = home
        self._runs, self._orders, self._say = runs, orders, say

    def work(self) -> None:
        """Train entry after entry. Raises: StoreError where the queue itself fails."""
        try:
            while not self._orders.leaving:
                entry = self._queue.claim(self._lock.name)
                if entry is None:
                    break
                self._say({"event": "claimed", "entry": entry.id})
                state, message = self._trained(entry)
                self._queue.mark(entry.id, state, message)
                if state != "interrupted":
                    after_run(self._queue, self._home, self._runs, entry.sweep)
                self._say({"event": "ended", "entry": entry.id, "state": state, "message": message})
        finally:
            self._queue.close()
            self._lock.release()

    def _trained(self, entry: Entry) -> tuple[EntryState, str]:
        """Train one entry to its end; an error fails this entry alone."""
        if entry.folder is None and not entry.config:
            return "failed", DAMAGED_ENTRY
        try:
            session = self._opened(entry)
            if session is None:
                return "done", ""
            self._orders.watch(session)
            self._queue.begun(entry.id, session.id, session.folder)
            begun = {"run": session.id, "folder": str(session.folder)}
            self._say({"event": "begun", "entry": entry.id, **begun})
            try:
                return self._advanced(session)
            except BaseException:
                session.end("failed")
                raise
        except (OptionError, ValidationError) as error:
            return "failed", _sentence(error)
        except StoreError as error:
            return "failed", self._stored_nothing(entry, error)
        except Exception as error:  # noqa: BLE001 - the outermost frame of training, as in the window's worker
            if not isinstance(error, ValueError):
                _log.exception("Entry %d failed", entry.id)
            return "failed", _sentence(error)
        finally:
            self._orders.watch(None)

    def _opened(self, entry: Entry) -> Session | None:
        """Open a run, new or stored; None where it was trained to its end meanwhile."""
        if entry.folder is None:
            (session,) = open_sessions([RunConfig.model_validate(entry.config)], self._runs)
            return session
        if open_run(entry.folder).state == "done":
            return None
        (session,) = resume_sessions([entry.folder])
        return session

    def _stored_nothing(self, entry: Entry, error: StoreError) -> str:
        """Pause the queue where a new run cannot be stored: the next one could not be, either."""
        if entry.folder is not None:
            return _sentence(error)
        self._queue.set_paused(paused=True)
        return f"{_sentence(error)} The queue was paused, so that the others do not fail too."

    def _advanced(self, session: Session) -> tuple[EntryState, str]:
        paused = False
        while True:
            order = self._orders.take(wait=paused)
            if order in {"pause", "resume"}:
                paused = order == "pause"
                session.set_state("paused" if paused else "running")
            elif order is not None:
                state, mark, message = _ENDS[order]
                session.end(state)
                return mark, message
            elif (event := session.advance()) is not None and (end := _end_of(event)) is not None:
                return end


def _end_of(event: Event) -> tuple[EntryState, str] | None:
    if not isinstance(event, Ended):
        return None
    # "waiting" alone is no state of a run, and runs do not end as running or paused.
    return cast("EntryState", event.state), event.message


def _sentence(error: BaseException) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"Its settings cannot be read: {'.'.join(map(str, first['loc']))}: {first['msg']}."
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return text if text.endswith((".", "!", "?")) else f"{text}."


def run_worker(home: Path, runs: Path, orders_from: int, results: int) -> None:
    """Work the queue off; orders come from one file handle, and events go to another as JSON.

    Raises: StoreError where the queue cannot be used.
    """
    orders = Orders()

    def say(event: dict[str, object]) -> None:
        try:
            os.write(results, (json.dumps(event) + "\n").encode())
        except OSError:  # no process reads it any more: the other pipe ends, too
            orders.give("quit")

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C in a terminal is the parent's to handle
    signal.signal(signal.SIGTERM, lambda _number, _frame: orders.give("quit"))
    thread = threading.Thread(target=orders.listen, args=(orders_from,), name="orders", daemon=True)
    thread.start()
    QueueWorker(home, runs, orders, say).work()

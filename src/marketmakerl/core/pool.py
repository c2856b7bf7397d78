"""Run many tasks in worker processes and lose none: not to an interrupt, not to a worker that dies."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver, resource_tracker
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")
R = TypeVar("R")

# How often a task may take its worker down with it (out of memory, a crash in native code) before it counts as failed.
_MAX_TRIES = 2


def default_processes() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0))


class WorkerDiedError(Exception):
    """A task whose worker process died every time it was tried."""


def run_tasks(
    work: Callable[[T], R], tasks: Sequence[T], processes: int, preload: Sequence[str] = ()
) -> Iterator[tuple[T, R | Exception]]:
    """Yield (task, result) as tasks finish, in any order; an exception takes the result's place.

    Args:
        work: a function that can be pickled.
        tasks: its arguments.
        processes: worker processes, >= 1; with 1 the tasks run here, one after another.
        preload: modules that workers start with, so that each does not import them anew.

    A `KeyboardInterrupt` (or SystemExit from a signal handler) in the caller ends the workers at once and goes on up.
    """
    if processes == 1 or len(tasks) == 1:
        for task in tasks:
            yield task, _attempt(work, task)
        return
    # Fork servers start clean: no thread of ours (a progress bar's, say) is forked in the middle of something.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    _start_fork_server()
    waiting = [(task, 1) for task in reversed(tasks)]
    while waiting:
        # After a crash nobody knows which task in flight caused it: suspects run alone, so that the guilty one shows.
        alone = any(tries > 1 for _, tries in waiting)
        with _pool(context, 1 if alone else processes) as pool:
            yield from _drain(pool, work, waiting, alone=alone, in_flight=1 if alone else processes)


def _start_fork_server() -> None:
    """Start the process that workers are forked from, deaf to Ctrl-C from its first instruction on.

    It imports the preloaded modules before it has set its own handlers; a blocked signal is inherited.
    """
    # First, because starting it would unblock the signal again (Python 3.11).
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _attempt(work: Callable[[T], R], task: T) -> R | Exception:
    try:
        return work(task)
    except Exception as error:  # noqa: BLE001  (handed to the caller, as a worker process would)
        return error


@contextlib.contextmanager
def _pool(context: Any, processes: int) -> Iterator[ProcessPoolExecutor]:
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_ignore_interrupt)
    try:
        yield pool
    except BaseException:
        for process in list((getattr(pool, "_processes", None) or {}).values()):
            process.kill()
        _kill_fork_server()
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _kill_fork_server() -> None:
    """End the fork server with the workers: a deaf one would go on forking for a caller that has gone."""
    server = getattr(forkserver, "_forkserver", None)
    pid = getattr(server, "_forkserver_pid", None)
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _ignore_interrupt() -> None:
    """Leave Ctrl-C to the parent: it ends the workers itself and keeps what is finished."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _drain(
    pool: ProcessPoolExecutor, work: Callable[[T], R], waiting: list[tuple[T, int]], *, alone: bool, in_flight: int
) -> Iterator[tuple[T, R | Exception]]:
    """Work through `waiting` (its end first) until it is empty or the pool breaks; what broke goes back with a mark."""
    running: dict[Future[R], tuple[T, int]] = {}
    broken = False
    while running or (waiting and not broken):
        while waiting and not broken and len(running) < in_flight:
            task, tries = waiting.pop()
            try:
                running[pool.submit(work, task)] = (task, tries)
            except BrokenProcessPool:
                broken = True
                waiting.append((task, tries))
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            task, tries = running.pop(future)
            error = future.exception()
            if isinstance(error, BrokenProcessPool):
                broken = True
                if tries >= _MAX_TRIES:
                    yield task, WorkerDiedError("its worker process died (out of memory, or killed)")
                else:
                    waiting.append((task, tries + 1))
            elif error is not None:
                if not isinstance(error, Exception):
                    raise error
                yield task, error
            else:
                yield task, future.result()
        if alone and not running and not any(tries > 1 for _, tries in waiting):
            return  # the suspects are through: back to all processes

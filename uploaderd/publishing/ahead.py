"""One thread reads while another one uses what was read before."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def read_ahead(items: Generator[T, None, None], depth: int) -> Iterator[Iterator[T]]:
    """The same items, of which a thread reads up to `depth` before they are asked for.

    An error of the generator is raised when the items before it were used. Leaving the context ends
    the thread, and closes the generator.
    """
    waiting: queue.Queue[tuple[T] | None] = queue.Queue(depth)
    unwanted = threading.Event()

    def fill() -> None:
        try:
            for item in items:
                waiting.put((item,))
                if unwanted.is_set():
                    break
        finally:
            items.close()
            waiting.put(None)

    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as pool:
        filled = pool.submit(fill)
        try:
            yield _taken(waiting, filled)
        finally:
            unwanted.set()
            while not filled.done():
                with suppress(queue.Empty):
                    waiting.get(timeout=0.01)


def _taken(waiting: queue.Queue[tuple[T] | None], filled: Future[None]) -> Iterator[T]:
    while (taken := waiting.get()) is not None:
        yield taken[0]
    filled.result()

"""Faults in lanes: those of one lane follow each other, the lanes run beside each other."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from tests.chaos import faults
from tests.chaos.fleet import Fleet

ARMED_AT_ONCE = 6
PATIENCE_S = 400.0
SECONDS_A_FAULT = 0.4


class Lanes:
    """All faults of a plan, injected from threads; `injected` counts them by name."""

    def __init__(self, here: Fleet, names: Sequence[str], seed: int) -> None:
        self.injected: Counter[str] = Counter()
        self.failures: list[BaseException] = []
        self._here = here
        self._lock = threading.Lock()
        self._ended = threading.Event()
        lanes: dict[str, list[faults.Kind]] = defaultdict(list)
        known = {kind.name: kind for kind in faults.KINDS}
        at_points = [name for name in names if name not in known]
        for name in names:
            if name in known:
                lanes[known[name].lane].append(known[name])
        span_s = SECONDS_A_FAULT * len(names)
        self._threads = [
            threading.Thread(target=self._guarded, args=(self._inject_at_points, at_points, seed))
        ]
        for lane, kinds in sorted(lanes.items()):
            chance = random.Random(f"{seed} {lane}")
            self._threads.append(
                threading.Thread(target=self._guarded, args=(self._inject, kinds, chance, span_s))
            )

    def start(self) -> None:
        """Begins."""
        for thread in self._threads:
            thread.start()

    @property
    def busy(self) -> bool:
        """Whether faults are still to come."""
        return any(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        """Gives up what is left, and waits."""
        self._ended.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def _guarded(self, work: Callable[..., None], *arguments: Any) -> None:
        try:
            work(*arguments)
        except BaseException as error:
            self.failures.append(error)
            raise

    def _count(self, name: str) -> None:
        with self._lock:
            self.injected[name] += 1

    def _inject(self, kinds: Sequence[faults.Kind], chance: random.Random, span_s: float) -> None:
        """One fault after the other, spread over the span by chance."""
        began = time.monotonic()
        for number, kind in enumerate(kinds):
            due = began + span_s * (number + chance.random()) / len(kinds)
            if self._ended.wait(max(0.0, due - time.monotonic())):
                return
            kind.act(self._here, chance)
            self._count(kind.name)

    def _inject_at_points(self, names: Sequence[str], seed: int) -> None:
        """Keeps a few points armed until each was hit as often as it is named."""
        chance = random.Random(f"{seed} points")
        points = self._here.points
        waiting, armed = list(names), set[str]()
        last = time.monotonic()
        while waiting or armed:
            for name in [each for each in waiting if each not in armed]:
                if len(armed) >= ARMED_AT_ONCE:
                    break
                signal_name, _, point = name.partition(" at ")
                points.arm(point, signal_name)
                armed.add(name)
                waiting.remove(name)
            for hit in points.take_hits():
                last = time.monotonic()
                name = f"{hit.signal} at {hit.point}"
                armed.discard(name)
                self._count(name)
                if hit.signal == "SIGSTOP":
                    wake = threading.Timer(chance.uniform(0.05, 1.5), faults.go_on, (hit.pid,))
                    wake.daemon = True
                    wake.start()
            if time.monotonic() - last > PATIENCE_S:
                raise AssertionError(f"never reached: {points.disarm()}")
            if self._ended.wait(0.05):
                points.disarm()
                return

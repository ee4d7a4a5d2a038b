"""The halt flag: who holds it works on the station, the other side keeps off.

Deployed agents test for the flag and then touch it, which is not atomic; they only look at its
mtime, in minutes, by the station's clock. Ours is put in place exclusively, says in one line whose
it is from the first moment on, is renewed by the station's own clock, and always released. Its
mtime is set a minute back, so that an agent that touches it, having tested just before we took it,
gives itself away.
"""

from __future__ import annotations

import errno
import random
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import paramiko

from uploaderd.errors import StationHalted
from uploaderd.station.agent import AgentConfig
from uploaderd.station.owner import Claim, Owner, this_process
from uploaderd.station.pipelined import content

_BACK_S = 60
_LEASE_S = 1800.0
_CONCEDED = b"the indexer agent: it touched this flag when uploaderd had just made it\n"
_HINT = "The backup is tried again later; a stale flag is removed by the agent after HALT_TIMEOUT."

_held: set[str] = set()
_held_lock = threading.Lock()


@dataclass(frozen=True)
class Patience:
    """How often, and how long (a random time between two, in seconds), a flag is waited for."""

    tries: int = 4
    shortest_s: float = 5.0
    longest_s: float = 30.0
    settle_s: float = 1.0
    """How long after taking the flag an agent is waited for that had tested it just before."""


@dataclass(frozen=True)
class Holder:
    """Who holds a station; a claim only if it is a process of ours, on whichever machine."""

    claim: Claim | None

    def __str__(self) -> str:
        return str(self.claim or "its agent or by hand")


def look(sftp: paramiko.SFTPClient, config: AgentConfig) -> Holder | None:
    """Who holds the station now; none if nobody does. Touches nothing; raises OSError."""
    said = _content(sftp, config.halt_flag)
    return None if said is None else Holder(Claim.of(said))


class HaltFlag:
    """The station's flag as a context manager; raises StationHalted if somebody else keeps it.

    A flag that a dead process of this machine left behind, or one of ours on any machine that was
    not renewed for its lease, is taken over. What the connection raises is raised. `confirm` and
    `renew` may be called from several threads, if nothing else uses the session.
    """

    def __init__(
        self,
        sftp: paramiko.SFTPClient,
        config: AgentConfig,
        owner: Owner | None = None,
        *,
        patience: Patience | None = None,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._sftp = sftp
        self._path = config.halt_flag
        self._owner = owner or this_process()
        self._patience = patience or Patience()
        self._wait = wait
        self._token = secrets.token_hex(8)
        timeout_s = config.halt_timeout_min * 60
        self._renew_every_s = min(_LEASE_S, timeout_s) / 4
        self._line = Claim.now(self._owner, self._token, min(_LEASE_S, timeout_s)).line
        self._mark: int | None = None
        self._renewed = 0.0
        self.inherited = False
        """Whether it was taken over from a process that died, and may have left things undone."""
        self.clock_ahead_s = 0.0
        """The station's clock less ours, when the flag was last renewed; to the second."""
        self._turn = threading.RLock()

    def __enter__(self) -> Self:
        for attempt in range(self._patience.tries):
            if attempt:
                self._wait(random.uniform(self._patience.shortest_s, self._patience.longest_s))
            if self._take():
                return self
        raise StationHalted(
            f"The station is halted by {self._holder()}; nothing was touched.", hint=_HINT
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._let_go()
        except (OSError, EOFError, paramiko.SSHException):
            # The link is gone: the flag is recognised as left behind by whoever comes next.
            if error is None:
                raise
        finally:
            with _held_lock:
                _held.discard(self._token)

    def renew(self) -> None:
        """Keep the flag fresh; cheap, asks the station only once a quarter of the lease.

        Raises StationHalted if it is no longer ours.
        """
        with self._turn:
            if time.monotonic() - self._renewed >= self._renew_every_s:
                self.confirm()
                self._stamp()

    def confirm(self) -> None:
        """Make sure that the flag is ours and that no agent touched it; else StationHalted."""
        with self._turn:
            if self._read() != self._line or self._mtime() != self._mark:
                raise StationHalted(
                    f"The halt flag was lost to {self._holder()} during the backup.", hint=_HINT
                )

    def _take(self) -> bool:
        if not self._create():
            return False
        with _held_lock:
            _held.add(self._token)
        try:
            self._stamp()
            self._wait(self._patience.settle_s)
            self.confirm()
        except BaseException as error:
            with suppress(OSError, EOFError, paramiko.SSHException):
                self._let_go()
            with _held_lock:
                _held.discard(self._token)
            if isinstance(error, StationHalted):
                return False
            raise
        return True

    def _let_go(self) -> None:
        """Remove the flag if it is ours; if an agent touched it, it is the agent's from now on.

        That agent had tested before the flag was there, works now, and removes it at its end.
        """
        if self._read() != self._line:
            return
        if self._mark is None or self._mtime() == self._mark:
            self._sftp.remove(self._path)
            return
        with suppress(FileNotFoundError), self._sftp.open(self._path, "r+") as file:
            file.truncate(0)
            file.write(_CONCEDED)

    def _create(self) -> bool:
        """Create the flag exclusively, after taking a stale one of ours out of the way.

        It is written beside and renamed, which SFTP does only if the name is free: a connection
        that is cut in between leaves no flag without its owner's name.
        """
        for again in (True, False):
            refusal = self._put()
            if refusal is None:
                return True
            said = self._read()
            if said is None:
                if again:
                    continue  # It vanished meanwhile.
                raise refusal
            if not self._is_stale(said) or not self._push_aside(said):
                return False
        return False

    def _put(self) -> OSError | None:
        """Put the flag in place; why not, if it is there already."""
        beside = self._probe_name()
        try:
            with self._sftp.open(beside, "wx") as file:
                file.write(self._line)
            self._sftp.rename(beside, self._path)
        except OSError as error:
            with suppress(FileNotFoundError):
                self._sftp.remove(beside)
            if error.errno is not None:
                raise
            # SFTP version 3 tells "exists" as a plain failure, which has no number.
            return error
        return None

    def _is_stale(self, said: bytes) -> bool:
        claim = Claim.of(said)
        if claim is None:
            return False
        if claim.owner == this_process():
            with _held_lock:
                return claim.token not in _held
        return claim.owner.is_dead() or self._age_s() > claim.lease_s

    def _age_s(self) -> float:
        """Seconds since the flag was renewed, all by the station's clock."""
        mtime = self._mtime()
        if mtime is None:
            return 0.0
        probe = self._probe_name()
        with self._sftp.open(probe, "wx") as file:
            now = file.stat().st_mtime or 0
        self._sftp.remove(probe)
        return float(now - mtime - _BACK_S)

    def _push_aside(self, said: bytes) -> bool:
        """Take away the stale flag, and no other that may stand in its place by now."""
        aside = self._probe_name()
        try:
            self._sftp.posix_rename(self._path, aside)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return True
            raise
        if self._read(aside) == said:
            self._sftp.remove(aside)
            self.inherited = True
            return True
        # Somebody was quicker: the flag goes back, but overwrites no other one.
        with suppress(OSError):
            self._sftp.rename(aside, self._path)
        return False

    def _stamp(self) -> None:
        """Set the mtime by the station's own clock: what a write gives, less a minute."""
        self._mark = None
        with self._sftp.open(self._path, "r+") as file:
            file.write(self._line)
            file.flush()
            now = file.stat().st_mtime or 0
            # A clock that has lost its battery begins in 1970, and no time is before.
            mark = max(0, now - _BACK_S)
            file.utime((mark, mark))
        self._mark = mark
        self.clock_ahead_s = now - time.time()
        self._renewed = time.monotonic()

    def _read(self, path: bytes | None = None) -> bytes | None:
        return _content(self._sftp, path or self._path)

    def _mtime(self) -> int | None:
        try:
            return self._sftp.stat(self._path).st_mtime
        except OSError as error:
            if error.errno == errno.ENOENT:
                return None
            raise

    def _holder(self) -> Holder:
        return Holder(Claim.of(self._read() or b""))

    def _probe_name(self) -> bytes:
        return self._path + b".uploaderd." + secrets.token_hex(4).encode()


def _content(sftp: paramiko.SFTPClient, path: bytes) -> bytes | None:
    """A flag's content; none if it is not there. If it is unreadable, that is an error."""
    try:
        return content(sftp, path, 1024)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise

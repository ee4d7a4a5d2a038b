"""The errors of the system, each with a stable code, a sentence and the way out.

    UploaderError
    ├── ConfigError            a file of the configuration is wrong
    ├── MessageError           a message does not say what its schema asks
    ├── BrokerError            the broker cannot be reached or refuses
    ├── CatalogError           the database cannot be reached or refuses
    ├── RepositoryError        the repository's disk cannot be written or read
    └── StationError           something at or on the way to a station
        ├── StationUnreachable     no connection
        ├── AuthenticationFailed   wrong user, password or key
        ├── HostKeyChanged         the station's host key is not the known one
        ├── AgentMissing           no agent configuration on the station
        ├── StationHalted          somebody else holds the halt flag
        ├── StationFull            the station's own disk takes nothing more
        ├── StationBusy            a limit of connections or stations at once is reached
        └── RemoteFileError        one file of the station cannot be had

`formats` has errors of its own, for it imports nothing of the rest.
"""

from __future__ import annotations

import enum
from typing import ClassVar


class Disposition(enum.Enum):
    """What is to become of a message whose handling raised the error."""

    NOT_NOW = "not_now"
    """The world is not ready (link down, disk full): try again later, as long as it takes."""
    FAILED = "failed"
    """Something went wrong that may go right: try again a limited number of times."""
    NEVER = "never"
    """No repetition can help: to the dead letters at once."""


class UploaderError(Exception):
    """Base of all errors that the system expects; `str()` is a sentence for an operator."""

    code: ClassVar[str] = "error"
    disposition: ClassVar[Disposition] = Disposition.FAILED

    def __init__(self, sentence: str, *, hint: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.sentence} {self.hint}".strip()


class ConfigError(UploaderError):
    """A configuration file is wrong; the sentence names file and key."""

    code = "config"
    disposition = Disposition.NEVER


class MessageError(UploaderError):
    """A message does not say what its schema asks."""

    code = "invalid_message"
    disposition = Disposition.NEVER


class BrokerError(UploaderError):
    """The broker cannot be reached, or refuses."""

    code = "broker"
    disposition = Disposition.NOT_NOW


class CatalogError(UploaderError):
    """The database cannot be reached, or refuses."""

    code = "catalog"
    disposition = Disposition.NOT_NOW


class RepositoryError(UploaderError):
    """The repository's disk cannot be written or read."""

    code = "repository"
    disposition = Disposition.NOT_NOW


class StationError(UploaderError):
    """Something at a station, or on the way to it."""

    code = "station"


class StationUnreachable(StationError):
    """No connection to the station, or it broke."""

    code = "unreachable"
    disposition = Disposition.NOT_NOW


class AuthenticationFailed(StationError):
    """The station refuses the user, the password or the key."""

    code = "authentication"


class HostKeyChanged(StationError):
    """The station shows another host key than the known one: no connection is made."""

    code = "host_key_changed"
    disposition = Disposition.NEVER


class AgentMissing(StationError):
    """The station has no agent configuration at the configured path."""

    code = "no_agent"


class StationHalted(StationError):
    """Somebody else holds the station's halt flag."""

    code = "halted"
    disposition = Disposition.NOT_NOW


class StationFull(StationError):
    """The station's own disk is full: neither flag nor index can be written there."""

    code = "station_full"
    disposition = Disposition.NOT_NOW


class StationBusy(StationError):
    """As many connections to it, or stations at once, as the settings allow."""

    code = "busy"
    disposition = Disposition.NOT_NOW


class RemoteFileError(StationError):
    """One file of the station cannot be had; the others are not concerned."""

    code = "remote_file"

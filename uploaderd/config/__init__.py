"""Configuration: loading, JSON Schemas and typed settings.

The loading functions are imported when somebody asks for them: amqpfire needs the settings'
dataclasses only, starts for each message, and should not pay for the schema checker.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uploaderd.config.load import load_daemon, load_service, load_services, select

__all__ = ["load_daemon", "load_service", "load_services", "select"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from uploaderd.config import load

    return getattr(load, name)

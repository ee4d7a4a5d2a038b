"""Configuration: loading, JSON Schemas and typed settings."""

from uploaderd.config.load import load_daemon, load_service, load_services, select

__all__ = ["load_daemon", "load_service", "load_services", "select"]

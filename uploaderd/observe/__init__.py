"""Logging, metrics and notifications."""

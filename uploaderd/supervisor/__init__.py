"""Supervision: launches, watches and restarts the service processes."""

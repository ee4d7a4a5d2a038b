"""The driver's own tests, run against the embedded engine."""

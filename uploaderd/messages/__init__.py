"""The messages that services exchange, and their JSON Schemas."""

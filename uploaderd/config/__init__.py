"""Configuration: loading, JSON Schemas and typed settings."""

"""The messages that services exchange, and their JSON Schemas (2020-12).

A message is named by its *kind*, which is the name of the service that takes it. This package
imports nothing of the rest but the errors, and needs only `jsonschema`.
"""

from uploaderd.messages.decoding import decode, encode
from uploaderd.messages.kinds import KIND_OF, KINDS, routing_key, schema
from uploaderd.messages.redaction import redact
from uploaderd.messages.validation import validate

__all__ = ["KINDS", "KIND_OF", "decode", "encode", "redact", "routing_key", "schema", "validate"]

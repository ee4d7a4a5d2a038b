from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from uploaderd import messages
from uploaderd.errors import MessageError
from uploaderd.messages import quick

FILE = {
    "file_id": "0" * 32,
    "host_id": 7,
    "remote_path": "/mnt/internal/data/a b ü.bin",
    "size": 5,
    "mtime": 1.5,
    "sha256": "a" * 64,
    "path": "tmp/7/a b.bin",
    "verified": "size",
}


@pytest.mark.parametrize("kind", messages.KINDS)
def test_every_schema_is_sound_and_describes_each_property(kind: str) -> None:
    schema = messages.schema(kind)
    Draft202012Validator.check_schema(schema)
    assert all(part["description"] for part in schema["properties"].values())
    assert quick.compiled(schema) is not None
    assert messages.KIND_OF[messages.routing_key(kind)] == kind


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("host-request", {"host_id": 1}),
        ("host-request", {"host_id": "10", "host_add": "127.0.0.1", "host_port": "22"}),
        ("host-request", {"host_uid": "rfeye002", "filter": {"mode": "LAST", "last_n_files": 3}}),
        ("backup", {"host_id": 1, "host_add": "::1", "agent_config": "/etc/node/indexerD.cfg"}),
        ("process", FILE),
        ("publish", {}),
        ("publish", {"dataset": "all", "mode": "complete"}),
    ],
)
def test_valid_bodies_pass(kind: str, body: object) -> None:
    messages.validate(kind, body)


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        ("host-request", {}, "needs host_id or host_uid"),
        ("host-request", {"host_id": 0}, "host_id is 0"),
        ("host-request", {"host_id": True}, "host_id is true"),
        ("host-request", {"host_id": "1\n"}, "host_id"),
        ("host-request", {"host_id": 1, "host_port": 70000}, "host_port"),
        ("host-request", {"host_id": 1, "hots_add": "x"}, "unknown key 'hots_add'"),
        ("host-request", {"host_id": 1, "query_tag": "dance"}, "one of backup, catalog"),
        ("host-request", {"host_id": 1, "filter": {"mode": "SOME"}}, "filter.mode"),
        ("host-request", {"host_id": "{HOST.ID}"}, "does not expand this macro"),
        ("host-request", {"host_uid": "{$NAME}"}, "which was not expanded"),
        ("host-request", [1], "type object"),
        ("backup", {"host_id": 1}, "lacks host_add"),
        ("process", {**FILE, "path": "tmp/../etc/passwd"}, "path"),
        ("process", {**FILE, "path": "/etc/passwd"}, "path"),
        ("process", {**FILE, "sha256": "A" * 64}, "sha256"),
        ("publish", {"mode": "all"}, "complete, incremental"),
    ],
)
def test_an_invalid_body_is_refused_by_the_name_of_the_key(
    kind: str, body: object, said: str
) -> None:
    with pytest.raises(MessageError, match=said):
        messages.validate(kind, body)


def test_an_error_never_shows_a_password() -> None:
    with pytest.raises(MessageError) as caught:
        messages.validate("host-request", {"host_id": 1, "passwd": ["canary"]})
    assert "canary" not in str(caught.value)
    with pytest.raises(MessageError) as caught:
        messages.validate("host-request", {"host_id": 1, "passwd": "canary" * 1000})
    assert "canary" not in str(caught.value)


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    with pytest.raises(MessageError, match="host-request, backup"):
        messages.routing_key("nonsense")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"a": 1, "a": 2}', "'a' twice"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "Infinity"),
        (b'{"a": ', "line 1, column"),
        (b"\xff", "UTF-8 at byte 0"),
        (b"", "not JSON"),
        (b"[" * 200_000, "nested too deeply"),
        (b"1" * 5000, "too many digits"),
    ],
)
def test_decode_refuses_what_is_not_strict_json(body: bytes, said: str) -> None:
    with pytest.raises(MessageError, match=said):
        messages.decode(body)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_decode_gives_back_what_encode_wrote(value: object) -> None:
    try:
        written = messages.encode(value)
    except MessageError:
        # Only lone surrogates cannot be written as UTF-8.
        assert "\\ud" in json.dumps(value)
        return
    assert messages.decode(written) == value


def test_redact_masks_deeply_and_leaves_the_original_alone() -> None:
    body = {"user": "fiscal", "passwd": "canary", "list": [{"Password": "canary"}], "n": 1}
    shown = messages.redact({**body, "url": "amqp://u:canary@host/"})
    assert "canary" not in json.dumps(shown)
    assert shown["user"] == "fiscal"
    assert shown["url"] == "amqp://u:*****@host/"
    assert body["passwd"] == "canary"


_keys = st.sampled_from([*messages.schema("host-request")["properties"], "other"])
_values = (
    st.none()
    | st.booleans()
    | st.integers(-2, 70000)
    | st.floats(allow_nan=False)
    | st.sampled_from(["1", "22", "x", "", "backup", "1\n", " "])
    | st.fixed_dictionaries({"mode": st.sampled_from(["ALL", "no"])})
)


@given(st.dictionaries(_keys, _values))
def test_the_quick_check_accepts_only_what_the_full_validator_accepts(body: object) -> None:
    schema = messages.schema("host-request")
    accept = quick.compiled(schema)
    assert accept is not None
    if accept(body):
        assert Draft202012Validator(schema).is_valid(body)

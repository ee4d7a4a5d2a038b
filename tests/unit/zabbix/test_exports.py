"""The files to import into Zabbix: what its importer and its server ask of them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from amqpfire import zabbix
from tests.unit.zabbix.keys import ANSWER_KEYS, OWN_KEYS
from uploaderd.station import halt

FOLDER = Path(__file__).parents[3] / "zabbix"


def export(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text())["zabbix_export"]
    return loaded


@pytest.fixture(scope="module")
def templates() -> dict[str, Any]:
    return {each["name"]: each for each in export("template_uploaderd.yaml")["templates"]}


def nested(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from nested(each)
    if isinstance(value, list):
        for each in value:
            yield from nested(each)


def test_every_uuid_is_a_version_4_without_dashes_and_unique() -> None:
    found = [e["uuid"] for e in nested(export("template_uploaderd.yaml")) if "uuid" in e]
    assert len(found) == len(set(found)) > 30
    for each in found:
        assert re.fullmatch("[0-9a-f]{32}", each)
        assert uuid.UUID(each).version == 4


def test_the_station_has_one_master_item_that_keeps_no_history(templates: dict[str, Any]) -> None:
    items = templates["uploaderd station"]["items"]
    masters = [item for item in items if item["type"] == "EXTERNAL"]
    assert [(m["history"], m["trends"], m["value_type"]) for m in masters] == [("0", "0", "TEXT")]
    others = [item for item in items if item not in masters]
    assert {i["type"] for i in others} == {"DEPENDENT"}
    assert {i["master_item"]["key"] for i in others} == {masters[0]["key"]}
    assert "{HOST.ID}" not in masters[0]["key"]


def test_every_key_of_the_answer_has_an_item(templates: dict[str, Any]) -> None:
    items = templates["uploaderd station"]["items"]
    paths = {i["preprocessing"][0]["parameters"][0] for i in items if "preprocessing" in i}
    assert paths == {f"$.{key}" for key in ANSWER_KEYS | OWN_KEYS}


def test_numbers_discard_what_is_unknown(templates: dict[str, Any]) -> None:
    for item in templates["uploaderd station"]["items"][1:]:
        steps = item["preprocessing"]
        assert all(s.get("error_handler") == "DISCARD_VALUE" for s in steps[:1])
        if item["value_type"] in ("FLOAT", "UNSIGNED") and "status" not in item["key"]:
            assert steps[1]["type"] in ("NOT_MATCHES_REGEX", "JAVASCRIPT")


def test_the_key_is_a_request_that_the_check_understands(templates: dict[str, Any]) -> None:
    template = templates["uploaderd station"]
    key = template["items"][0]["key"]
    assert key.startswith("uploaderd-zabbix-request[")
    values = {m["macro"]: m["value"] for m in template["macros"]}
    values |= {"{HOST.HOST}": "rfeye002218", "{HOST.CONN}": "10.0.0.7"}
    pairs = re.findall(r'"([^"]*)"', key)
    for macro, value in values.items():
        pairs = [pair.replace(macro, value) for pair in pairs]
    body = zabbix.body_of(pairs)
    assert body["host_uid"] == "rfeye002218"
    assert body["query_tag"] == "backup"
    assert "user" not in body


def test_triggers_have_tags_and_name_items_that_exist(templates: dict[str, Any]) -> None:
    for template in templates.values():
        keys = {e["key"] for e in nested(template) if "key" in e}
        triggers = [e for e in nested(template) if "expression" in e]
        assert triggers
        for trigger in triggers:
            assert trigger["tags"]
            used = re.findall(
                rf"/{template['name']}/(uploaderd[.\w]*(?:\[[^\]]*\])?[-\w]*)",
                trigger["expression"],
            )
            assert used
            for key in used:
                assert any(known.startswith(key) for known in keys), key


def test_macros_that_are_used_are_declared(templates: dict[str, Any]) -> None:
    for template in templates.values():
        declared = {m["macro"] for m in template["macros"]}
        assert set(re.findall(r"\{\$[A-Z_.]+\}", str(template["items"]))) <= declared


def test_a_halted_station_is_recognised_by_the_sentence_that_tells_of_it(
    templates: dict[str, Any],
) -> None:
    [item] = [i for i in templates["uploaderd station"]["items"] if i["key"] == "uploaderd.halted"]
    script = item["preprocessing"][1]["parameters"][0]
    found = re.search(r"/\^(.*?)/\.test", script)
    assert found is not None
    assert f'"{found[1]} by ' in Path(halt.__file__).read_text()


WEBHOOK = """
const parameters = JSON.stringify(Object.assign({}, JSON.parse(process.argv[2])));
const status = Number(process.argv[3]), answer = process.argv[4];
global.HttpRequest = function () {
    this.addHeader = function () {};
    this.post = function (url, body) { console.log(url); console.log(body); return answer; };
    this.getStatus = function () { return status; };
};
try { console.log(new Function('value', process.argv[1])(parameters)); }
catch (error) { console.log('' + error); }
"""


def fired(status: int, answer: str) -> list[str]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    media = export("media_uploaderd.yaml")["media_types"][0]
    values = {p["name"]: p["value"] for p in media["parameters"]}
    values |= {
        "url": "http://broker:15672/",
        "host_id": "7",
        "host_uid": "x",
        "query_tag": "backup",
    }
    command = [node, "-e", WEBHOOK, media["script"], json.dumps(values), str(status), answer]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.splitlines()


def test_the_webhook_publishes_a_request_and_tells_what_went_wrong() -> None:
    url, body, result = fired(200, '{"routed": true}')
    assert url == "http://broker:15672/api/exchanges/%2F/uploaderd/publish"
    sent = yaml.safe_load(body)
    assert sent["routing_key"] == "host.request"
    assert yaml.safe_load(sent["payload"])["host_id"] == 7
    assert result == "OK"
    assert "no queue takes" in fired(200, '{"routed": false}')[-1]
    assert "RabbitMQ says 401" in fired(401, "no")[-1]

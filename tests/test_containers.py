"""The compose file and the Dockerfile: valid, pinned, on loopback, without secrets, and made of files that exist."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[1]
COMPOSE = ROOT / "docker-compose.yml"
SCHEMA = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
SECRET = re.compile(r"API_KEY|TOKEN|PASSWORD|SECRET", re.IGNORECASE)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    return loaded


def ours(compose: dict[str, Any]) -> dict[str, Any]:
    return {name: service for name, service in compose["services"].items() if "build" in service}


def servers(compose: dict[str, Any]) -> dict[str, Any]:
    return {name: service for name, service in compose["services"].items() if "build" not in service}


def test_it_is_valid_by_the_specification(compose):
    validator = jsonschema.Draft7Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    assert [error.message for error in validator.iter_errors(compose)] == []


def test_one_server_starts_by_default_and_the_rest_on_demand(compose):
    profiles = {name: service.get("profiles", []) for name, service in compose["services"].items()}
    assert profiles == {
        "qdrant": [],
        "peer2": ["cluster"],
        "peer3": ["cluster"],
        "qdrant-tls": ["tls"],
        "app": ["app"],
        "serve": ["serve"],
    }


def test_every_service_is_pinned_unprivileged_and_limited(compose):
    for name, service in compose["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert {"mem_limit", "pids_limit"} <= set(service), name
        assert not {"privileged", "user"} & set(service), name
    for name, service in servers(compose).items():
        assert re.fullmatch(r"qdrant/qdrant:v\d+\.\d+\.\d+-unprivileged", service["image"]), name
        assert "healthcheck" in service, name
    assert all(service["read_only"] for service in ours(compose).values())


def test_ports_are_on_loopback_and_no_two_services_take_one(compose):
    ports = [port for service in compose["services"].values() for port in service.get("ports", ())]
    assert all(port.startswith("127.0.0.1:") for port in ports)
    outside = [port.split(":")[1] for port in ports]
    assert len(outside) == len(set(outside))


def test_no_two_servers_share_data_and_every_volume_is_used(compose):
    named = [
        volume.split(":")[0]
        for service in servers(compose).values()
        for volume in service["volumes"]
        if not volume.startswith("$")
    ]
    assert len(named) == len(set(named))
    assert {*named, "app_cache"} == set(compose["volumes"])


def test_no_secret_stands_in_it(compose):
    for name, service in compose["services"].items():
        for key, value in service["environment"].items():
            if SECRET.search(key):
                assert re.fullmatch(r"\$\{\w+:[?-][^}]*\}", value), (name, key)
    assert all("HYBRID_SEARCH_API_KEY" in service["environment"] for service in ours(compose).values())


def test_the_peers_join_the_one_that_is_there(compose):
    peers = {name: service for name, service in servers(compose).items() if name != "qdrant-tls"}
    for name, service in peers.items():
        assert service["environment"]["QDRANT_URI"] == f"http://{name}:6335"
        assert service["environment"]["QDRANT__CLUSTER__ENABLED"] == "true"
        assert service["environment"].get("QDRANT_BOOTSTRAP") == (None if name == "qdrant" else "http://qdrant:6335")


def test_the_image_is_made_of_files_that_exist_and_that_the_context_has():
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copies = [line for line in lines if line.startswith("COPY ") and "--from" not in line]
    copied = {path for line in copies for path in line.split()[1:-1]}
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert copied == {line[1:] for line in ignored if line.startswith("!")}
    assert {path for path in copied if not (ROOT / path).exists()} == set()
    bases = [line for line in lines if line.startswith("FROM ")]
    assert all(re.match(r"FROM python:\d+\.\d+\.\d+-", base) for base in bases)
    assert "USER 1000" in lines

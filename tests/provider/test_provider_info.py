"""The provider's description names what the package has, and nothing of the pipeline."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest
from airflow.providers_manager import ProvidersManager

from extend_provider.client.settings import ExtendSettings
from extend_provider.client.wire import API_VERSIONS, DEFAULT_API_VERSION
from extend_provider.get_provider_info import get_provider_info
from extend_provider.hooks.extend import ExtendHook

INFO = get_provider_info()
(CONNECTION,) = INFO["connection-types"]


def test_provider_info_satisfies_airflows_schema() -> None:
    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    jsonschema.validate(INFO, schema)


def test_every_module_and_class_in_the_provider_info_exists() -> None:
    for kind in ("hooks", "operators", "sensors", "triggers"):
        for entry in INFO[kind]:
            for module in entry["python-modules"]:
                importlib.import_module(module)
    for path in (*INFO["extra-links"], CONNECTION["hook-class-name"]):
        module, name = path.rsplit(".", 1)
        assert isinstance(getattr(importlib.import_module(module), name), type)


def test_airflow_offers_the_connection_type_with_its_fields() -> None:
    manager = ProvidersManager()  # type: ignore[no-untyped-call]  # Airflow's own
    hook = manager.hooks["extend"]
    assert hook is not None
    assert (hook.hook_name, hook.connection_id_attribute_name) == ("Extend", "extend_conn_id")
    assert hook.connection_testable
    fields = {name for name in manager.connection_form_widgets if name.startswith("extra__extend__")}
    assert fields == {
        "extra__extend__workspace_id",
        "extra__extend__api_version",
        "extra__extend__requests_per_second",
        "extra__extend__acceptance_window",
        "extra__extend__listing_grace",
        "extra__extend__webhook_secrets",
        "extra__extend__webhook_inbox",
        "extra__extend__webhook_queue",
        "extra__extend__webhook_queue_conn_id",
        "extra__extend__webhook_payload_hosts",
    }
    behaviour = manager.field_behaviours["extend"]
    assert "login" in behaviour["hidden_fields"]
    # Airflow 3.3 refuses the Test of a stored connection without a port, so one can be given.
    assert "port" not in behaviour["hidden_fields"]
    assert behaviour["placeholders"]["port"] == "443"


def test_the_hook_and_the_form_describe_the_same_connection() -> None:
    assert CONNECTION["connection-type"] == ExtendHook.conn_type
    assert CONNECTION["hook-name"] == ExtendHook.hook_name
    assert set(CONNECTION["conn-fields"]) <= set(ExtendSettings.__dataclass_fields__)


def test_the_form_offers_the_supported_api_versions() -> None:
    schema = CONNECTION["conn-fields"]["api_version"]["schema"]
    assert (tuple(schema["enum"]), schema["default"]) == (API_VERSIONS, DEFAULT_API_VERSION)


@pytest.mark.parametrize(
    ("field", "value", "valid"),
    [
        ("requests_per_second", 2.5, True),
        ("requests_per_second", None, True),
        ("requests_per_second", 0, False),
        ("acceptance_window", 60, True),
        ("acceptance_window", None, True),
        ("acceptance_window", 0, False),
        ("listing_grace", 0, True),
        ("listing_grace", -1, False),
        ("api_version", "2025-04-21", True),
        ("api_version", "2024-12-23", False),
        ("workspace_id", "ws_1", True),
    ],
)
def test_the_form_checks_values(field: str, value: Any, valid: bool) -> None:
    schema = CONNECTION["conn-fields"][field]["schema"]
    assert jsonschema.Draft202012Validator(schema).is_valid(value) is valid


def test_the_provider_alone_names_nothing_of_the_pipeline() -> None:
    assert "extend_pipeline" not in json.dumps(INFO)

"""The settings of a run: what is accepted, what is refused, and when."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.settings import Settings, SourceItem, check_literals, parse_source

GIVEN: dict[str, Any] = {
    "source": "s3://inbox/documents/2026-11-21/",
    "workflow_id": "workflow_invoices",
    "workspace": "file:///data/extend",
}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param("s3://bbb/p/", [("s3://bbb", "p/", True)], id="a prefix"),
        pytest.param(
            "s3://bbb/p/2026-11", [("s3://bbb", "p/2026-11", True)], id="one address alone is a prefix"
        ),
        pytest.param("s3://bbb", [("s3://bbb", "", True)], id="a whole bucket"),
        pytest.param(["s3://bbb/a.pdf"], [("s3://bbb", "a.pdf", False)], id="a list names objects"),
        pytest.param(
            ["s3://bbb/a.pdf", "s3://bbb/p/"],
            [("s3://bbb", "a.pdf", False), ("s3://bbb", "p/", True)],
            id="a mixed list",
        ),
        pytest.param(
            " s3://bbb/a.pdf \n\n s3://ccc/b.pdf",
            [("s3://bbb", "a.pdf", False), ("s3://ccc", "b.pdf", False)],
            id="lines",
        ),
        pytest.param(
            ["s3://bbb/5% #1+1?.pdf"], [("s3://bbb", "5% #1+1?.pdf", False)], id="awkward characters"
        ),
        pytest.param("gs://bbb/p", [("gs://bbb", "p", True)], id="another store"),
        pytest.param("file:///data/in/", [("file://", "data/in/", True)], id="a folder"),
        pytest.param(["file:///data/a.pdf"], [("file://", "data/a.pdf", False)], id="a file"),
        pytest.param(
            "https://example.com/in/a.pdf",
            [("https://example.com", "in/a.pdf", False)],
            id="one web address alone is a document",
        ),
    ],
)
def test_a_source_is_prefixes_and_objects(given: Any, expected: list[tuple[str, str, bool]]) -> None:
    assert [tuple(item) for item in parse_source(given)] == expected


@pytest.mark.parametrize(
    "address",
    [
        "inbox/documents",
        "s3:/b/p",
        "s3://",
        "http://bbb/p",
        "s3:///p",
        "s3://key@bbb/p",
        "gs://conn@bbb/p",
        "file://data/in/",
        "file:///data/../etc/",
        "https://example.com/folder/",
    ],
)
def test_a_malformed_address_is_refused_with_its_text(address: str) -> None:
    with pytest.raises(PipelineInputError, match="source: ") as refused:
        check_literals({**GIVEN, "source": address})
    assert address in str(refused.value)


@pytest.mark.parametrize("address", ["https://example.com/a.pdf?key=secret", "https://secret@example.com/a"])
def test_a_web_address_that_may_hold_a_secret_is_refused_without_a_word_of_it(address: str) -> None:
    with pytest.raises(PipelineInputError, match="it may hold a secret") as refused:
        check_literals({**GIVEN, "source": [address]})
    assert address not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("priority", 0),
        ("priority", 101),
        ("version", "latest"),
        ("chunk_size", 0),
        ("chunk_size", 1001),
        ("transfer", "carrier pigeon"),
        ("on_needs_review", "ignore"),
        ("schema_contract", "melt"),
        ("limit", 0),
        ("limit", "many"),
        ("dry_run", "perhaps"),
        ("max_failed", -1),
        ("max_failed_ratio", 1.5),
        ("expires_in", 0),
        ("workflow_id", " "),
        ("workspace", "data/extend"),
        ("modified_from", "yesterday"),
        ("dataset", "drop table"),
    ],
)
def test_a_wrong_literal_is_refused_when_parsed_and_when_rendered(name: str, value: Any) -> None:
    with pytest.raises(PipelineInputError, match=f"{name}: "):
        check_literals({**GIVEN, name: value})
    with pytest.raises(PipelineInputError, match=f"{name}: ") as refused:
        Settings.from_rendered({**GIVEN, name: value})
    assert "nothing was sent" in str(refused.value)
    assert repr(value) in str(refused.value) or name == "workflow_id"


def test_every_wrong_setting_is_named_at_once() -> None:
    with pytest.raises(PipelineInputError) as refused:
        Settings.from_rendered({"source": "nowhere", "priority": 0})
    assert all(name in str(refused.value) for name in ("source", "priority", "workflow_id", "workspace"))


def test_a_template_is_left_for_the_task() -> None:
    check_literals(
        {**GIVEN, "source": "{{ var.value.src }}", "priority": "{{ params.priority }}", "limit": None}
    )


def test_a_missing_untemplated_value_is_refused_at_parse_time() -> None:
    with pytest.raises(PipelineInputError, match="workflow_id"):
        check_literals({**GIVEN, "workflow_id": ""})


def test_rendered_text_becomes_what_it_means() -> None:
    settings = Settings.from_rendered(
        {
            **GIVEN,
            "limit": "25",
            "dry_run": "True",
            "priority": "7",
            "version": "3",
            "glob": "",
        }
    )
    assert (settings.limit, settings.dry_run) == (25, True)
    assert (settings.priority, settings.version, settings.glob) == (7, "3", None)


def test_the_name_of_a_repetition_stays_as_it_was_given() -> None:
    given = {**GIVEN, "reprocess": "all", "repetition": " schema 7 "}
    assert Settings.from_rendered(given).repetition == " schema 7 "


def test_metadata_may_be_rendered_as_json_and_survives_the_workspace() -> None:
    settings = Settings.from_rendered({**GIVEN, "metadata": '{"customer": {"id": 17}, "tags": ["a"]}'})
    assert settings.metadata == {"customer": {"id": 17}, "tags": ["a"]}
    assert Settings.from_stored(settings.to_stored(), "settings.json") == settings


def test_settings_of_an_earlier_release_are_read() -> None:
    kept = {**GIVEN, "source": [["s3://inbox", "a*b//", True]], "workspace": "file://relative/extend"}
    kept |= {"glob": "*.pdf,*.png", "dataset": "Analytics", "metadata": {"run_id": "1"}}
    kept |= {"reprocess": "none", "repetition": "once"}
    kept |= {"modified_from": "2026-11-02T00:00:00", "modified_to": "2026-11-01T00:00:00"}
    settings = Settings.from_stored(kept, "settings.json")
    assert settings.source == (SourceItem("s3://inbox", "a*b//", True),)
    assert (settings.workspace, settings.glob) == ("file://relative/extend", "*.pdf,*.png")
    assert (settings.metadata, settings.repetition) == ({"run_id": "1"}, "once")
    with pytest.raises(PipelineInputError):
        Settings.from_rendered({**kept, "source": "s3://inbox/"})


@pytest.mark.parametrize("nothing", ["", "None", None])
def test_an_empty_form_field_takes_its_default(nothing: str | None) -> None:
    settings = Settings.from_rendered({**GIVEN, "limit": nothing, "version": nothing, "chunk_size": nothing})
    assert (settings.limit, settings.version, settings.chunk_size) == (None, None, 1000)


def test_settings_survive_the_workspace() -> None:
    settings = Settings.from_rendered(
        {**GIVEN, "source": ["s3://bbb/a.pdf", "s3://bbb/p/"], "modified_from": "2026-11-01T00:00:00Z"}
    )
    again = Settings.from_stored(settings.to_stored(), "settings.json")
    assert again == settings
    assert again.source[0] == SourceItem("s3://bbb", "a.pdf", False)
    assert again.modified_from == dt.datetime(2026, 11, 1, tzinfo=dt.UTC)


def test_reprocess_failed_needs_no_source() -> None:
    without = {**GIVEN, "source": ""}
    settings = Settings.from_rendered({**without, "reprocess": "failed"})
    assert settings.source == ()
    assert Settings.from_stored(settings.to_stored(), "settings.json") == settings
    for reprocess in ("none", "all"):
        with pytest.raises(PipelineInputError, match="source: no address is given"):
            Settings.from_rendered({**without, "reprocess": reprocess})
    with pytest.raises(PipelineInputError, match="source: no address is given"):
        check_literals(without)
    check_literals({**without, "source": "{{ params.source }}"})

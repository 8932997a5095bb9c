"""The settings of a watch: rendered from Variables and Connections; and which objects they let in."""

from __future__ import annotations

from typing import Any

import pytest

from extend_pipeline.arrivals.watch_settings import WATCH_LABELS, WatchSettings, rendered
from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.sources.objects import Located

VALUES: dict[str, Any] = {
    "arrivals": "inbox",
    "queue": "https://sqs.eu-west-1.amazonaws.com/123456789012/inbox",
    "workspace": "s3://aws_default@acme-data/extend",
}


def settings(**values: Any) -> WatchSettings:
    return WatchSettings.from_rendered({**VALUES, **values}, label=WATCH_LABELS.__getitem__)


def test_templates_are_rendered_from_variables_and_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_QUEUE", VALUES["queue"])
    monkeypatch.setenv("AIRFLOW_VAR_ARRIVALS", '{"at_least": 7}')
    monkeypatch.setenv("AIRFLOW_CONN_PLACE", '{"conn_type": "aws", "host": "acme-inbox"}')
    written = {
        **VALUES,
        "queue": "{{ var.value.queue }}",
        "at_least": "{{ var.json.arrivals.at_least }}",
        "address": ["s3://{{ conn.place.host }}/a/", "s3://b-inbox/"],
        "or_after": 60.0,
        "glob": None,
    }
    read = WatchSettings.from_rendered(rendered(written))
    assert (read.queue, read.at_least, read.or_after) == (VALUES["queue"], 7, 60.0)
    assert [item.uri for item in read.address] == ["s3://acme-inbox/a/", "s3://b-inbox/"]


def test_a_variable_that_renders_to_nonsense_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_QUEUE", "inbox")
    values = rendered({**VALUES, "queue": "{{ var.value.queue }}"})
    with pytest.raises(PipelineInputError, match=r"Arrivals\.queue: must be the URL of a queue"):
        WatchSettings.from_rendered(values, label=WATCH_LABELS.__getitem__)


def test_a_template_reaches_nothing_else() -> None:
    for text in ("{{ var.__class__ }}", "{{ var.value.__init__.__globals__ }}"):
        with pytest.raises(Exception, match=r"unsafe|undefined|has no attribute"):
            rendered({"queue": text})


@pytest.mark.parametrize(
    ("values", "uri", "reason"),
    [
        ({}, "s3://anywhere/a.pdf", None),
        ({}, "s3://acme-data/extend/arrivals/x.json", "in the workspace"),
        ({}, "s3://acme-data/extended/a.pdf", None),
        ({"workspace": "file:///acme-data/extend"}, "s3://acme-data/extend/a.pdf", None),
        ({"address": "s3://inbox/in"}, "s3://inbox/in/a.pdf", None),
        ({"address": "s3://inbox/in/"}, "s3://inbox/out/a.pdf", "outside of the prefix"),
        ({"address": "s3://inbox/in/"}, "s3://other/in/a.pdf", "outside of the prefix"),
        ({"address": ["s3://inbox/a/", "s3://inbox/b/"]}, "s3://inbox/b/a.pdf", None),
        ({"glob": "*.pdf"}, "s3://inbox/in/a.txt", "outside of the glob"),
        ({"glob": "*.pdf"}, "s3://inbox/in/a.pdf", None),
        ({"glob": "a/*.pdf", "address": "s3://inbox/in/"}, "s3://inbox/in/a/b.pdf", None),
        ({"glob": "a/*.pdf", "address": "s3://inbox/in/"}, "s3://inbox/in/b/b.pdf", "outside of the glob"),
        ({"glob": "a/*", "address": ["s3://inbox/", "s3://inbox/in/"]}, "s3://inbox/in/a/b.pdf", None),
    ],
)
def test_an_object_is_let_in_by_bucket_prefix_and_glob(
    values: dict[str, Any], uri: str, reason: str | None
) -> None:
    assert settings(**values).reason_against(Located.of(uri)) == reason

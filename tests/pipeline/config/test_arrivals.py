"""Documents that arrive as a source: how they are watched, and what they exclude."""

from __future__ import annotations

import datetime as dt

import pytest

from extend_pipeline import (
    Arrivals,
    Deployment,
    documents_to_warehouse,
)
from extend_pipeline.exceptions import PipelineInputError
from fixtures.pipeline.authoring import TEMPLATE, make, rendered


def test_arrivals_are_not_sent_again() -> None:
    source = Arrivals("https://sqs/inbox")
    for which in ("all", "failed"):
        with pytest.raises(PipelineInputError, match=r"^source: what has arrived is sent once"):
            make(documents_to_warehouse, source=source, reprocess=which)
    with pytest.raises(PipelineInputError, match="source: what has arrived is sent once"):
        rendered({"reprocess": "all"}, source=source, reprocess=TEMPLATE)


def test_arrivals_are_watched_as_the_author_says() -> None:
    arrivals = Arrivals(
        "{{ var.value.queue }}",
        name="inbox",
        address=("s3://inbox/a/", "s3://inbox/b/"),
        glob="*.pdf",
        at_least=7,
        or_after=dt.timedelta(minutes=1),
        conn_id="a",
    )
    asset = arrivals.asset(Deployment("{{ var.value.extend_workspace }}"))
    (watcher,) = asset.watchers
    assert (asset.name, watcher.name) == ("inbox", "inbox")
    where, arguments = watcher.trigger.serialize()
    assert where == "extend_pipeline.arrivals.trigger.ArrivalsTrigger"
    assert arguments == {
        "arrivals": "inbox",
        "queue": "{{ var.value.queue }}",
        "address": ["s3://inbox/a/", "s3://inbox/b/"],
        "glob": "*.pdf",
        "at_least": 7,
        "or_after": 60.0,
        "aws_conn_id": "a",
        "workspace": "{{ var.value.extend_workspace }}",
    }
    assert rendered({}, source=arrivals).arrivals == "inbox"
    (watcher,) = arrivals.asset(Deployment("file:///mnt/extend", disk="shared")).watchers
    assert watcher.trigger.serialize()[1]["disk"] == "shared"


@pytest.mark.parametrize(
    ("workspace", "says"),
    [
        ("{{ var.value.x }}/{{ ds }}", "which knows var and conn, and no ds"),
        ("s3://inbox/extend", "contains the other"),
    ],
)
def test_arrivals_need_a_workspace_that_a_trigger_can_use(workspace: str, says: str) -> None:
    arrivals = Arrivals("https://sqs/inbox", address="s3://inbox/")
    with pytest.raises(PipelineInputError, match=rf"^Deployment\.workspace: .*{says}"):
        arrivals.asset(Deployment(workspace))
    with pytest.raises(PipelineInputError, match=r"^deployment: must be a Deployment"):
        arrivals.asset(workspace)  # type: ignore[arg-type]

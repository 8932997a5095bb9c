"""The trigger: it announces in bundles, never raises, never blocks the loop, and can die at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from airflow.serialization.encoders import encode_trigger
from airflow.triggers.base import BaseEventTrigger

from extend_pipeline.arrivals import trigger as trigger_module
from extend_pipeline.arrivals import watch as watch_module
from extend_pipeline.arrivals.manifests import Bundles
from extend_pipeline.arrivals.trigger import ArrivalsTrigger
from extend_provider.webhooks.sqs import SqsQueue
from fixtures.sources.arrivals import Inbox
from fixtures.tasks.heartbeat import heartbeat

#: The first import of an object store takes seconds, and so does a busy machine.
PATIENCE = 120


@dataclasses.dataclass
class Watched:
    """An inbox, a workspace, and triggers that watch."""

    inbox: Inbox
    workspace: str

    def trigger(self, **arguments: Any) -> ArrivalsTrigger:
        given = {
            "arrivals": "inbox",
            "queue": "{{ var.value.extend_arrivals_queue }}",
            "workspace": self.workspace,
            "at_least": 3,
            "or_after": 3600.0,
            "aws_conn_id": "aws_default",
        }
        return ArrivalsTrigger(**{**given, **arguments})

    def waiting(self) -> int:
        return sum(bundle.documents for bundle in Bundles(self.workspace, "inbox").waiting())


@pytest.fixture
def watched(inbox: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watched:
    monkeypatch.setenv("AIRFLOW_VAR_EXTEND_ARRIVALS_QUEUE", inbox.url)
    monkeypatch.setattr(trigger_module, "FIRST_PAUSE", 0.1)
    monkeypatch.setattr(watch_module, "LONGEST_WAIT", 1)
    monkeypatch.setattr(watch_module, "LOOK_SECONDS", 1.0)
    return Watched(inbox, f"file://{tmp_path}/workspace")


@contextlib.asynccontextmanager
async def running(trigger: ArrivalsTrigger) -> AsyncIterator[asyncio.Queue[Any]]:
    """Run a trigger as the triggerer does; its events come out of a queue."""
    events: asyncio.Queue[Any] = asyncio.Queue()

    async def run() -> None:
        try:
            async for event in trigger.run():
                events.put_nowait(event.payload)
        finally:
            await trigger.cleanup()

    task = asyncio.create_task(run())
    try:
        yield events
        assert not task.done(), task.result()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def next_of(events: asyncio.Queue[Any]) -> Any:
    return await asyncio.wait_for(events.get(), PATIENCE)


async def until(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.05)


async def test_enough_documents_are_one_event_that_stays_small(watched: Watched) -> None:
    async with running(watched.trigger()) as events, heartbeat() as beat:
        watched.inbox.put("a.pdf", "b.pdf")
        await until(lambda: watched.waiting() == 2)
        assert events.empty()
        watched.inbox.put("c.pdf")
        event = await next_of(events)
        assert event["documents"] == watched.waiting() == 3
        assert set(event) == {"arrivals", "bundles", "documents"}
        assert beat.held_up < 0.2
    assert watched.inbox.waiting() == (0, 0)


async def test_a_trickle_is_announced_when_its_time_has_come(watched: Watched) -> None:
    async with running(watched.trigger(at_least=1000, or_after=1.0)) as events:
        watched.inbox.put("a.pdf")
        assert (await next_of(events))["documents"] == 1


async def test_what_a_dead_trigger_had_taken_in_is_announced_by_the_next(watched: Watched) -> None:
    async with running(watched.trigger()):
        watched.inbox.put("a.pdf", "b.pdf")
        await until(lambda: watched.waiting() == 2)
    async with running(watched.trigger(at_least=2)) as events:
        assert (await next_of(events))["documents"] == 2


async def test_a_trigger_that_is_cancelled_while_it_receives_loses_nothing(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    received, go_on = threading.Event(), threading.Event()
    receive = SqsQueue.receive

    def held(self: SqsQueue, *arguments: Any) -> Any:
        page = receive(self, *arguments)
        if page:
            received.set()
            go_on.wait(PATIENCE)
        return page

    watched.inbox.put("a.pdf", "b.pdf", "c.pdf")
    with monkeypatch.context() as patched:
        patched.setattr(SqsQueue, "receive", held)
        async with running(watched.trigger()) as events:
            await until(received.is_set)
        assert events.empty()
        go_on.set()
    async with running(watched.trigger()) as events:
        assert (await next_of(events))["documents"] >= 3


async def test_two_triggers_at_once_announce_every_document(watched: Watched) -> None:
    async with running(watched.trigger(at_least=1)) as one, running(watched.trigger(at_least=1)) as other:
        watched.inbox.put(*(f"{number}.pdf" for number in range(12)))
        await until(lambda: watched.waiting() == 12)
        await until(lambda: not (one.empty() and other.empty()))
    assert watched.inbox.waiting() == (0, 0)


@pytest.mark.parametrize("wrong", ["no variable", "no URL", "no queue", "no connection", "no workspace"])
async def test_nothing_that_is_wrong_ends_it_and_a_corrected_setting_is_used(
    watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    logged: list[str] = []
    trigger = watched.trigger(at_least=1)
    monkeypatch.setattr(trigger.log, "error", lambda text, *values: logged.append(text % values))
    with monkeypatch.context() as patched:
        if wrong == "no variable":
            patched.delenv("AIRFLOW_VAR_EXTEND_ARRIVALS_QUEUE")
        elif wrong == "no URL":
            patched.setenv("AIRFLOW_VAR_EXTEND_ARRIVALS_QUEUE", "inbox")
        elif wrong == "no queue":
            patched.setenv("AIRFLOW_VAR_EXTEND_ARRIVALS_QUEUE", f"{watched.inbox.url}-gone")
        elif wrong == "no connection":
            patched.setenv("AIRFLOW_CONN_AWS_DEFAULT", '{"conn_type": "aws", "login": "x", "password": "y"}')
            patched.setenv("AWS_ENDPOINT_URL", watched.inbox.s3.endpoint_url)
            patched.setenv("AWS_DEFAULT_REGION", "us-east-1")
        else:
            (tmp_path / "workspace").write_text("a file is in its place")
        watched.inbox.put("a.pdf")
        async with running(trigger) as events:
            await until(lambda: len(logged) >= 2)
            assert events.empty()
            assert watched.inbox.waiting() == (1, 0)  # what it cannot keep it does not receive
            patched.undo()
            monkeypatch.setattr(trigger_module, "FIRST_PAUSE", 0.1)
            if wrong == "no workspace":
                (tmp_path / "workspace").unlink()
            assert (await next_of(events))["documents"] == 1
    assert "tried again" in logged[0]
    if wrong == "no URL":
        assert "Arrivals.queue: must be the URL of a queue" in logged[0]


async def test_a_changed_variable_is_used_without_a_restart(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "RENDER_SECONDS", 0.0)
    other = watched.inbox.sqs.queue("other")
    async with running(watched.trigger(at_least=1)) as events:
        watched.inbox.put("a.pdf")
        await next_of(events)
        monkeypatch.setenv("AIRFLOW_VAR_EXTEND_ARRIVALS_QUEUE", other)
        dataclasses.replace(watched.inbox, url=other).tell("b.pdf")
        await until(lambda: watched.waiting() == 2)


def test_it_is_the_same_trigger_however_often_it_is_parsed_and_stored(watched: Watched) -> None:
    from airflow.models.trigger import Trigger

    first, second = (
        watched.trigger(address=["s3://a/", "s3://b/"]),
        watched.trigger(address=["s3://a/", "s3://b/"]),
    )
    where, arguments = first.serialize()
    parsed = BaseEventTrigger.hash(where, encode_trigger(second)["kwargs"])
    stored = Trigger(classpath=where, kwargs=encode_trigger(first)["kwargs"])
    assert BaseEventTrigger.hash(where, stored.kwargs) == parsed
    assert BaseEventTrigger.hash(where, watched.trigger(at_least=4).serialize()[1]) != parsed
    assert ArrivalsTrigger(**arguments).serialize() == (where, arguments)
    assert where == "extend_pipeline.arrivals.trigger.ArrivalsTrigger"

"""The time in which runs are read, as the emulator answers it."""

from __future__ import annotations

import time

from bench.single.rate import counts
from bench.stack.rate import Span
from fixtures.extend.api import running


def test_the_span_begins_with_the_first_read_and_ends_with_the_last_one() -> None:
    with running("--synthetic") as api:
        batch = api.submit_batch([{"file": {"text": "a"}, "metadata": {}}])
        (run,) = api.runs(batch)
        before, _ = counts(api)
        with Span(api) as span:
            time.sleep(0.5)
            for pause in (1.0, 0.5):
                api.call("GET", f"/workflow_runs/{run['id']}")
                time.sleep(pause)
        after, refused = counts(api)
    assert (after - before, refused) == (2, 0)
    assert 0.8 < span.ended - span.began < 1.4

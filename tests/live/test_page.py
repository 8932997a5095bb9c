"""The page in Airflow itself, in a browser: a run at work, send again, search, one document."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from fixtures.airflow.stack import Live
from fixtures.airflow.timing import RUN_SECONDS, SEEN_SECONDS
from sandbox.stack.samples import seed_documents, source_of

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from fixtures.page.browser import Pictures

ON_DEMAND = "extend_on_demand"
DAY = dt.date(2026, 11, 2)


@pytest.fixture
def airflow(live: Live, tab: Page) -> Page:
    """The tab of a person who is logged in to Airflow."""
    state = live.airflow.home.read_state()
    assert state is not None
    tab.context.add_cookies([{"name": "_token", "value": live.client.token(), "url": state.airflow_url}])
    tab.set_default_timeout(SEEN_SECONDS * 1000)
    live.client.wait_for_dag(ON_DEMAND)
    live.client.set_paused(ON_DEMAND, False)
    return tab


@pytest.mark.long
def test_page_from_a_run_at_work_to_documents_sent_again(
    live: Live, airflow: Page, pictures: Pictures
) -> None:
    live.s3.bucket(source_of(live.settings)[0])
    truths = seed_documents(live.s3.endpoint_url, live.settings, [DAY], 40, 5)
    bucket, prefix = source_of(live.settings)
    live.extend.configure(hold=True)
    conf = {"source": f"s3://{bucket}/{prefix}{DAY}/", "chunk_size": 15}
    run = live.client.trigger(ON_DEMAND, conf=conf)

    # In Airflow's own frame: from the navigation, and on the DAG's page.
    airflow.goto(live.client.url)
    airflow.get_by_role("link", name="Extend", exact=True).click()
    frame = airflow.frame_locator("iframe[title=Extend]")
    # The list of pipelines, or the only pipeline that there is.
    listed = frame.get_by_role("table", name="Pipelines").get_by_role("link", name=ON_DEMAND, exact=True)
    listed.or_(frame.get_by_role("combobox")).first.wait_for()
    if listed.count():
        listed.click()
    frame.get_by_role("table", name=f"Batches of {run.dag_run_id}").wait_for()
    airflow.goto(f"{live.client.url}/dags/{ON_DEMAND}/plugin/extend-documents")
    batches = frame.get_by_role("table", name=f"Batches of {run.dag_run_id}")
    batches.get_by_text(" settled").first.wait_for()
    live.extend.configure(hold=False)
    assert live.client.wait_for_run(ON_DEMAND, run.dag_run_id, timeout=RUN_SECONDS).state == "success"
    frame.get_by_text("No run is at work").wait_for()

    # Send again, for a reason: only those, and once.
    paid = dict(live.extend.stats()["runs_created"])
    frame.get_by_role("link", name="Dead letters").first.click()
    corrupt = sum(truth.status == "FAILED" for truth in truths)
    assert corrupt
    frame.get_by_role("button", name="Send again all").first.click()
    live.extend.configure(hold=True)
    frame.get_by_role("dialog").get_by_role("button", name="again").click()
    frame.get_by_text("to be sent again by").wait_for()
    frame.get_by_role("link", name="Overview").click()
    frame.get_by_role("table", name="Batches of").get_by_text("0 of 2 settled").wait_for()
    pictures.take(airflow, "page-at-work")
    live.extend.configure(hold=False)
    frame.get_by_text("sent again, and landed:").wait_for()
    again = {name: count - paid[name] for name, count in live.extend.stats()["runs_created"].items()}
    assert set(again.values()) <= {0, 1}
    assert 0 < sum(again.values()) <= corrupt

    # Search, and one document's story.
    done = next(truth for truth in truths if truth.status == "PROCESSED")
    name = done.key.rpartition("/")[2]
    frame.get_by_role("searchbox").fill(name)
    frame.get_by_role("button", name="Search").click()
    frame.get_by_role("link", name=name).click()
    frame.get_by_role("table", name="Fields").get_by_role("row").nth(1).wait_for()
    frame.get_by_text("Landed in the warehouse").wait_for()
    pictures.take(airflow, "page-one-document")

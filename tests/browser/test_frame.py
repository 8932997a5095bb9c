"""The page in a frame like Airflow's: colours, links out of it, an address below a prefix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fixtures.page import answers
from fixtures.page.recorded import Recorded

if TYPE_CHECKING:
    from playwright.sync_api import FrameLocator, Page


def framed(tab: Page, recorded: Recorded) -> FrameLocator:
    tab.goto(f"{recorded.url}shell?dag_id={answers.NIGHTLY}")
    frame = tab.frame_locator("iframe")
    frame.get_by_role("table", name="Latest runs").wait_for()
    return frame


def test_colours_follow_airflow(tab: Page, recorded: Recorded) -> None:
    frame = framed(tab, recorded)
    html = frame.locator("html")
    assert html.get_attribute("data-theme") == "light"
    tab.evaluate("document.documentElement.className = 'dark'")
    frame.locator("html[data-theme=dark]").wait_for()


def test_link_to_extend_opens_a_tab_although_the_frame_may_not(tab: Page, recorded: Recorded) -> None:
    tab.context.route("https://dashboard.extend.ai/**", lambda route: route.fulfill(body="Extend"))
    frame = framed(tab, recorded)
    frame.get_by_role("link", name="Dead letters").first.click()
    with tab.context.expect_page() as opened:
        frame.get_by_role("link", name="Extend (new tab)").first.click()
    opened.value.wait_for_url("https://dashboard.extend.ai/runs/workflow_run_1")
    assert opened.value.evaluate("window.opener") is None
    assert tab.url.endswith(f"shell?dag_id={answers.NIGHTLY}")


def test_link_to_a_run_leads_airflow_there_below_its_prefix(tab: Page, recorded: Recorded) -> None:
    frame = framed(tab, recorded)
    with tab.expect_navigation(url="**/team/dags/extend_nightly/runs/*"):
        frame.get_by_role("table", name="Latest runs").get_by_role("link").first.click()

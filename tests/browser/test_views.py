"""Each view of the page in a browser, with recorded answers: what it shows, and in which words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fixtures.page import answers
from fixtures.page.recorded import Recorded, RefusalError

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from fixtures.page.browser import Pictures

VIEWS = {
    "overview": "",
    "dead_letters": "/dead_letters",
    "reviews": "/reviews",
    "search": "/search?q=invoice-00042.pdf",
    "document": f"/documents/{answers.DOCUMENT_ID}",
}


#: Height of a row of one line, in pixels, at most.
ONE_LINE = 36


def opened(tab: Page, recorded: Recorded, view: str = "") -> None:
    tab.clock.install(time=answers.NOW)
    tab.goto(f"{recorded.url}extend/page/#/{answers.NIGHTLY}{view}")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
def test_view_fits_and_is_kept_as_a_picture(
    tab: Page, recorded: Recorded, pictures: Pictures, view: str, theme: str
) -> None:
    tab.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    tab.set_viewport_size({"width": 1000, "height": 860})
    opened(tab, recorded, VIEWS[view])
    tab.locator("main .view h2, main .chart svg").last.wait_for()
    if view == "overview":
        tab.get_by_role("table", name="Latest runs").wait_for()
        tab.get_by_role("table", name=f"Batches of {answers.RUN_ID}").wait_for()
    assert tab.evaluate("document.documentElement.dataset.theme") == theme
    assert tab.evaluate("document.documentElement.scrollWidth") <= 1000
    for one_line in tab.locator("th.run-id").all():
        assert one_line.evaluate("cell => cell.getBoundingClientRect().height") < ONE_LINE
    pictures.take(tab, f"page-{view}-{theme}")


def test_batches_at_work_are_kept_up_to_date(tab: Page, recorded: Recorded) -> None:
    opened(tab, recorded)
    batches = tab.get_by_role("table", name=f"Batches of {answers.RUN_ID}")
    batches.get_by_text("657 of 1,000 settled").wait_for()
    recorded.given["progress 0"] = {**answers.progress(0), "settled": 700, "summary": "700 of 1,000 settled"}
    tab.clock.fast_forward(5_000)
    batches.get_by_text("700 of 1,000 settled").wait_for()
    bar = batches.get_by_role("progressbar").first
    assert bar.get_attribute("aria-valuenow") == "700"


def test_nothing_is_asked_while_the_page_is_hidden(tab: Page, recorded: Recorded) -> None:
    opened(tab, recorded)
    tab.get_by_text("657 of 1,000 settled").wait_for()
    tab.evaluate("Object.defineProperty(document, 'visibilityState', {get: () => window.seen ?? 'hidden'})")
    tab.clock.fast_forward(5_000)
    tab.wait_for_timeout(300)
    before = len(recorded.asked)
    tab.clock.run_for(60_000)
    tab.wait_for_timeout(300)
    assert len(recorded.asked) == before
    tab.evaluate("window.seen = 'visible'; document.dispatchEvent(new Event('visibilitychange'))")
    with tab.expect_request("**/dagRuns*"):
        tab.clock.run_for(100)


def test_numbers_of_a_chart_are_there_for_the_keyboard_and_as_a_table(tab: Page, recorded: Recorded) -> None:
    opened(tab, recorded)
    chart = tab.get_by_role("group", name="Documents per day")
    chart.focus()
    tab.keyboard.press("End")
    tab.keyboard.press("ArrowLeft")
    chart.get_by_text("26 Nov").last.wait_for()
    tab.get_by_text("Show as a table").first.click()
    assert tab.get_by_role("table", name="Documents per day").get_by_role("row").count() == 31


def test_names_and_addresses_never_become_markup(tab: Page, recorded: Recorded) -> None:
    recorded.given["dead_letters"] = answers.dead_letters(hostile=True)
    recorded.given["story"] = answers.story(answers.HOSTILE)
    opened(tab, recorded, "/dead_letters")
    tab.get_by_role("link", name=answers.HOSTILE).click()
    tab.get_by_role("heading", name=answers.HOSTILE).wait_for()
    assert tab.locator("main img, main script").count() == 0
    tab.get_by_role("searchbox").fill(answers.HOSTILE)
    tab.keyboard.press("Enter")
    tab.get_by_role("link", name=answers.HOSTILE).wait_for()
    assert tab.locator("main img, main script").count() == 0


def test_address_that_is_no_web_address_is_no_link(tab: Page, recorded: Recorded) -> None:
    recorded.given["dead_letters"] = answers.dead_letters(hostile=True)
    opened(tab, recorded, "/dead_letters")
    tab.get_by_role("link", name=answers.HOSTILE).wait_for()
    assert tab.locator("a[href^='javascript']").count() == 0


def test_story_shows_what_a_reviewer_changed(tab: Page, recorded: Recorded) -> None:
    opened(tab, recorded, f"/documents/{answers.DOCUMENT_ID}")
    fields = tab.get_by_role("table", name="Fields")
    total = fields.get_by_role("row").filter(has_text="A reviewer has changed it")
    assert total.locator("ins").inner_text() == "1842.50"
    assert total.locator("del").inner_text() == "1342.50"
    assert tab.locator(".timeline li").count() == 7
    heads = [head.inner_text() for head in fields.get_by_role("columnheader").all()]
    assert heads == ["Field", "Value", "Confidence", "Page", "Where it is read"]
    assert total.locator("th, td").count() == len(heads)


def test_states_say_what_is_the_matter(tab: Page, recorded: Recorded) -> None:
    notice = "The connection is not known to the API server. Add it there."
    recorded.given["overview"] = answers.overview(state="unreadable", notice=notice)
    opened(tab, recorded)
    tab.get_by_role("status").get_by_text(notice).wait_for()
    tab.get_by_role("table", name="Latest runs").wait_for()
    assert tab.locator(".figures, .chart").count() == 0  # what cannot be read is not shown as nought


def test_page_without_pipelines_says_how_to_get_one(tab: Page, recorded: Recorded) -> None:
    recorded.given["pipelines"] = []
    tab.goto(recorded.url + "extend/page/")
    tab.get_by_role("heading", name="No pipeline yet").wait_for()


def test_first_run_is_shown_once_it_is_planned(tab: Page, recorded: Recorded) -> None:
    recorded.given["pipelines"] = []
    tab.goto(f"{recorded.url}extend/page/?dag_id={answers.NIGHTLY}")
    tab.get_by_role("heading", name="No documents here").wait_for()
    del recorded.given["pipelines"]
    tab.get_by_role("table", name="Latest runs").wait_for()


def test_other_dag_has_no_documents(tab: Page, recorded: Recorded) -> None:
    tab.goto(recorded.url + "extend/page/?dag_id=other")
    tab.get_by_role("heading", name="No documents here").wait_for()


def test_refusal_is_said_in_words_and_asked_again(tab: Page, recorded: Recorded) -> None:
    recorded.given["dead_letters"] = RefusalError(403, "Forbidden")
    opened(tab, recorded, "/dead_letters")
    tab.get_by_text("You do not have the right for this").wait_for()
    del recorded.given["dead_letters"]
    tab.get_by_role("button", name="Try again").click()
    tab.get_by_role("table", name="Dead letters by reason").wait_for()

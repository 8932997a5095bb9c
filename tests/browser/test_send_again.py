"""Send again, in a browser with recorded answers: what is asked, posted and said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fixtures.page import answers
from fixtures.page.recorded import Recorded, RefusalError

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture
def letters(tab: Page, recorded: Recorded) -> Page:
    tab.goto(f"{recorded.url}extend/page/#/{answers.NIGHTLY}/dead_letters")
    tab.get_by_role("table", name="Dead letters by reason").wait_for()
    return tab


def confirm(page: Page, button: str) -> None:
    dialog = page.get_by_role("dialog")
    assert "Extend charges credits for each of them again." in dialog.inner_text()
    dialog.get_by_role("button", name=button).click()


def test_one_document(letters: Page, recorded: Recorded) -> None:
    letters.get_by_label("Choose invoice-00003.pdf").check()
    letters.get_by_role("button", name="Send 1 document again").click()
    confirm(letters, "Send 1 document again")
    letters.get_by_text("1 document sent again, and landed:").wait_for()
    (posted,) = recorded.posted
    assert posted["logical_date"] is None
    conf: dict[str, Any] = answers.dead_letters()["send_again"][0]["conf"]
    assert posted["conf"] == {**conf, "documents": f"{3:032x}"}


def test_some_documents_but_none_that_is_on_its_way(letters: Page, recorded: Recorded) -> None:
    letters.get_by_label("Choose all that are listed").check()
    assert letters.get_by_label("Choose invoice-00014.pdf").is_disabled()
    letters.get_by_role("button", name="Send 13 documents again").click()
    confirm(letters, "Send 13 documents again")
    letters.get_by_text("13 documents sent again").wait_for()
    (posted,) = recorded.posted
    assert posted["conf"]["documents"].split("\n") == [f"{number:032x}" for number in range(1, 14)]


def test_a_reason(letters: Page, recorded: Recorded) -> None:
    letters.get_by_role("button", name="Send again all 3 with OCR_ERROR").click()
    confirm(letters, "Send 3 documents again")
    letters.get_by_text("3 documents sent again").wait_for()
    assert [posted["conf"]["reasons"] for posted in recorded.posted] == ["OCR_ERROR"]
    assert "documents" not in recorded.posted[0]["conf"]


@pytest.mark.parametrize("how", ["cancel", "escape"])
def test_nothing_is_sent_without_consent(letters: Page, recorded: Recorded, how: str) -> None:
    button = letters.get_by_role("button", name="Send again all 3 with OCR_ERROR")
    button.focus()
    letters.keyboard.press("Enter")
    dialog = letters.get_by_role("dialog")
    dialog.wait_for()
    if how == "cancel":
        dialog.get_by_role("button", name="Cancel").click()
    else:
        letters.keyboard.press("Escape")
    dialog.wait_for(state="detached")
    assert button.evaluate("element => element === document.activeElement")
    assert recorded.posted == []


def test_focus_stays_in_the_dialog(letters: Page) -> None:
    letters.get_by_role("button", name="Send again all 3 with OCR_ERROR").click()
    dialog = letters.get_by_role("dialog")
    dialog.wait_for()
    focused = "document.activeElement.closest('dialog') && document.activeElement.textContent"
    seen = []
    for key in ("Tab", "Tab", "Shift+Tab"):
        seen.append(letters.evaluate(focused))
        letters.keyboard.press(key)
    assert seen == ["Cancel", "Send 3 documents again", "Cancel"]


def test_missing_right_is_said(letters: Page, recorded: Recorded) -> None:
    recorded.given["started"] = RefusalError(403, "Forbidden")
    letters.get_by_role("button", name="Send again all 3 with OCR_ERROR").click()
    confirm(letters, "Send 3 documents again")
    letters.get_by_text("Nothing was sent").wait_for()
    letters.get_by_text("You may not start runs of this DAG").wait_for()


def test_failure_before_the_question_is_said_and_the_button_works_again(
    letters: Page, recorded: Recorded
) -> None:
    recorded.given["dead_letters"] = RefusalError(503, "The warehouse does not answer")
    send = letters.get_by_role("button", name="Send again all 3 with OCR_ERROR")
    send.click()
    letters.get_by_text("The warehouse does not answer").wait_for()
    assert not letters.get_by_role("dialog").is_visible()
    del recorded.given["dead_letters"]
    send.click()
    confirm(letters, "Send 3 documents again")
    letters.get_by_text("3 documents sent again").wait_for()
    assert len(recorded.posted) == 1


def test_two_clicks_ask_once(letters: Page, recorded: Recorded) -> None:
    letters.get_by_role("button", name="Send again all 3 with OCR_ERROR").dblclick()
    confirm(letters, "Send 3 documents again")
    letters.get_by_text("3 documents sent again").wait_for()
    assert letters.get_by_role("dialog").count() == 0
    assert len(recorded.posted) == 1


def test_pages_that_shift_show_no_document_twice(tab: Page, recorded: Recorded) -> None:
    every = answers.dead_letters()
    recorded.given["dead_letters"] = {**every, "rows": every["rows"][:8], "next": "8"}
    tab.goto(f"{recorded.url}extend/page/#/{answers.NIGHTLY}/dead_letters")
    rows = tab.get_by_role("table", name="Dead letters", exact=True).locator("tbody tr")
    rows.nth(7).wait_for()
    recorded.given["dead_letters"] = {**every, "rows": every["rows"][6:]}
    tab.get_by_role("button", name="Show 6 more").click()
    rows.nth(13).wait_for()
    assert rows.count() == 14


def test_paused_dag_is_said_before(letters: Page, recorded: Recorded) -> None:
    recorded.given["dag"] = {"is_paused": True}
    letters.get_by_role("button", name="Send again all 3 with OCR_ERROR").click()
    letters.get_by_role("dialog").get_by_text("extend_on_demand is paused").wait_for()

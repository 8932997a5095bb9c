"""When a listing is over: the cursor's rules, apart from how pages are fetched."""

from __future__ import annotations

import logging

from extend_provider.models import Page, T

log = logging.getLogger(__name__)


class Cursor:
    """Follows ``nextPageToken`` from page to page until there is none, or one comes a second time.

    How many items a page has says nothing: a server may cap the size below what was asked, and a page in the
    middle may be empty. A token seen before would lead in circles; what follows it has been read already.
    """

    def __init__(self) -> None:
        self.token: str | None = None
        self._seen: set[str] = set()

    def advance(self, page: Page[T]) -> bool:
        """Take the page's token and return whether there is a next page."""
        self.token = page.next_page_token
        if self.token is None:
            return False
        if self.token in self._seen:
            log.warning(
                "Extend gave a page token twice, after %d pages; the listing ends here, maybe incomplete.",
                len(self._seen) + 1,
            )
            return False
        self._seen.add(self.token)
        return True

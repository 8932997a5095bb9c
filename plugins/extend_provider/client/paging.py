"""When a listing is over: the cursor's rules, apart from how pages are fetched."""

from __future__ import annotations

from extend_provider.client.models import Page, T
from extend_provider.exceptions import ExtendServerError


class Cursor:
    """Follows ``nextPageToken`` from page to page until there is none.

    How many items a page has says nothing: a server may cap the size below what was asked, and a page in the
    middle may be empty. Only the end of the tokens is the end of the list.
    """

    def __init__(self) -> None:
        self.token: str | None = None
        self._seen: set[str] = set()

    def advance(self, page: Page[T]) -> bool:
        """Take the page's token and return whether there is a next page.

        :raises ExtendServerError: a token has come before, so the rest of the list cannot be had. Whoever
            counts or looks for something must not take what has been listed for all there is.
        """
        self.token = page.next_page_token
        if self.token is None:
            return False
        if self.token in self._seen:
            raise ExtendServerError(
                f"Extend gave a page token twice, after {len(self._seen) + 1} pages: the list is incomplete, "
                "and what is not in it may exist all the same. A later listing may be complete.",
                retryable=True,
            )
        self._seen.add(self.token)
        return True

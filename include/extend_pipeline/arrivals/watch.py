"""A watch over a queue: take in what is there, and say when a run is to start. Blocks; runs in a thread."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any, Final

from extend_pipeline.arrivals.bundling import Announcement, Bundle, Bundling
from extend_pipeline.arrivals.intake import Intake
from extend_pipeline.arrivals.manifests import Bundles
from extend_pipeline.arrivals.watch_settings import WATCH_LABELS, WatchSettings, rendered
from extend_pipeline.settings.reachable import check_reachable

#: How long one step waits for a message. Short, because a triggerer that stops waits for the thread.
LONGEST_WAIT: Final = 5
#: How often the settings are rendered anew, and how often it looks for bundles that others have written.
RENDER_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 60.0


class Watch:
    """One watch; :meth:`step` is called again and again.

    :param arguments: the values of :class:`WatchSettings`, some of them templates.
    :param log: the logger of the trigger.
    """

    def __init__(self, arguments: Mapping[str, Any], log: Any) -> None:
        self._arguments, self._log = arguments, log
        self._settings: WatchSettings | None = None
        self._rendered_at = float("-inf")
        self._bundling = Bundling(at_least=1, or_after=0.0)

    def reopen(self) -> None:
        """Forget connections and settings; the next step opens and reads them again.

        What was announced is not forgotten, so that a passing error starts no further runs.
        """
        self._settings, self._rendered_at = None, float("-inf")

    def step(self) -> Announcement | None:
        """Take in what has arrived, for a few seconds; return an announcement if one is due.

        :raises Exception: whatever a connection, the queue or the workspace raises. Nothing is lost then.
        """
        if time.monotonic() >= self._rendered_at + RENDER_SECONDS:
            settings = WatchSettings.from_rendered(rendered(self._arguments), label=WATCH_LABELS.__getitem__)
            if settings != self._settings:
                self._open(settings)
            self._settings, self._rendered_at = settings, time.monotonic()
        bundling = self._bundling
        announcement = bundling.decide(self._waiting, time.time())
        if announcement is not None:
            return announcement
        left = bundling.next_in(self._waiting, time.time())
        written = self._intake.step(math.ceil(max(0, min(left, LONGEST_WAIT))))
        if written or self._waiting or time.monotonic() >= self._looked_at + LOOK_SECONDS:
            self._look()
        return bundling.decide(self._waiting, time.time())

    def _open(self, settings: WatchSettings) -> None:
        # Imported here: it brings the provider for AWS.
        from extend_provider.webhooks.sqs import SqsQueue

        check_reachable(None, settings.disk, folders={"the workspace": settings.workspace})
        self._bundles = Bundles(settings.workspace, settings.arrivals)
        # Before anything is received: each receipt that ends in an error brings a message nearer to the
        # dead-letter queue.
        self._bundles.check_writable()
        queue = SqsQueue(settings.queue, settings.aws_conn_id)
        self._intake = Intake(queue, self._bundles, settings.reason_against, self._log)
        self._bundling.at_least, self._bundling.or_after = settings.at_least, settings.or_after
        self._look()
        self._log.info(
            "Watching %s: %s documents wait for a run.",
            settings.queue,
            f"{sum(bundle.documents for bundle in self._waiting):,}",
        )

    def _look(self) -> None:
        self._waiting: list[Bundle] = self._bundles.waiting()
        self._looked_at = time.monotonic()

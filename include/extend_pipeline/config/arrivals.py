"""Documents that S3 announces, and when a run takes them."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from extend_pipeline.arrivals.watch_settings import WATCH_LABELS, WatchSettings, check_templates
from extend_pipeline.config.checked import Checked, Templated, check_type
from extend_pipeline.config.deployment import Deployment
from extend_pipeline.settings import check_literals, check_shape

if TYPE_CHECKING:
    from airflow.sdk import Asset


@dataclasses.dataclass(frozen=True)
class Arrivals(Checked):
    """Documents that S3 announces to a queue; a DAG that is scheduled on :meth:`asset` takes them in bundles.

    Fields may be templates of Variables and Connections (``var``, ``conn``); the triggerer renders them.

    :param queue: the URL of the queue (SQS), which nothing else reads.
    :param name: the asset's in Airflow, and of the folder in the workspace; one for each queue.
    :param address: only objects below this prefix, or these.
    :param glob: only objects whose key, after the prefix, matches; see :mod:`extend_pipeline.sources.globs`.
    :param at_least: start a run when so many documents have arrived,
    :param or_after: or when the first of them has waited for so long, however few there are.
    :param conn_id: the AWS connection that reads the queue and the documents.
    """

    queue: Templated[str]
    _: dataclasses.KW_ONLY
    name: str = "extend_arrivals"
    address: Templated[str | Sequence[str]] | None = None
    glob: Templated[str] | None = None
    at_least: Templated[int] = 50
    or_after: dt.timedelta = dt.timedelta(minutes=5)
    conn_id: Templated[str] = "aws_default"

    def __post_init__(self) -> None:
        check_shape({"name": self.name, "or_after": self.or_after}, WATCH_LABELS.__getitem__)
        check_templates(self._watched(), WATCH_LABELS)
        check_literals(self._watched(), WatchSettings, label=WATCH_LABELS.__getitem__, partial=True)

    def asset(self, deployment: Deployment) -> Asset:
        """Return the asset to schedule a DAG on; its watcher reads the queue while the DAG is not paused.

        :param deployment: the one that the DAG uses: what has arrived waits in its workspace.
        """
        # Imported here, because only such a DAG needs Airflow's triggers when it is parsed.
        from airflow.sdk import Asset, AssetWatcher

        from extend_pipeline.arrivals.trigger import ArrivalsTrigger

        check_type("deployment", deployment, Deployment)
        # Only if it is said, because Airflow knows a trigger by its arguments.
        disk = None if deployment.disk == "by_executor" else deployment.disk
        values = {**self._watched(), "workspace": deployment.workspace, "disk": disk}
        check_templates(values, WATCH_LABELS)
        check_literals(values, WatchSettings, label=WATCH_LABELS.__getitem__)
        given = {name: value for name, value in values.items() if value is not None}
        watcher = AssetWatcher(name=self.name, trigger=ArrivalsTrigger(**given))
        return Asset(self.name, group="extend", watchers=[watcher])

    def to_settings(self) -> dict[str, Any]:
        """Return what the first task renders."""
        return {"arrivals": self.name, "aws_conn_id": self.conn_id}

    def _watched(self) -> dict[str, Any]:
        """Return what the trigger renders, as plain JSON."""
        address = [*self.address] if isinstance(self.address, tuple) else self.address
        return {
            "arrivals": self.name,
            "queue": self.queue,
            "address": address,
            "glob": self.glob,
            "at_least": self.at_least,
            "or_after": self.or_after.total_seconds(),
            "aws_conn_id": self.conn_id,
        }

"""The link from a task in Airflow's UI to its runs in Extend's dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context
    from airflow.sdk.types import TaskInstanceKey

#: XCom key of the address. Airflow's API server reads a link from XCom alone, so one key serves the task that
#: pushes the address before it is deferred, the trigger that learns it later, and the UI.
DASHBOARD_URL_KEY = "dashboard_url"


class HasDashboardUrl(Protocol):
    """An operator with a link to the dashboard.

    :ivar dashboard_url: the address; empty while it is not known; None in a process that has not asked.
    """

    dashboard_url: str | None


class ExtendDashboardLink(BaseOperatorLink):
    """Opens the first run of the task in Extend's dashboard.

    The address is the ``dashboardUrl`` that Extend gave for that run; no page of a batch is documented.
    """

    @property
    def name(self) -> str:
        """The button's label."""
        return "Extend dashboard"

    @property
    def xcom_key(self) -> str:
        """The XCom key under which the UI finds the address."""
        return DASHBOARD_URL_KEY

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address, or an empty string if none is known yet.

        Airflow calls this in the worker when an attempt ends or is deferred, and stores the answer under
        :attr:`xcom_key`. The operator's ``dashboard_url`` is None if this process knows nothing of it; then
        the trigger may have published it.
        """
        url: Any = getattr(operator, "dashboard_url", None)
        if url is None:
            from airflow.sdk.execution_time.xcom import XCom

            url = XCom.get_value(ti_key=ti_key, key=DASHBOARD_URL_KEY)
        return url if isinstance(url, str) else ""


def push_dashboard_url(operator: HasDashboardUrl, context: Context, url: str | None) -> None:
    """Keep the address, if there is one, for the link, and show it now."""
    if url and url != operator.dashboard_url:
        context["ti"].xcom_push(key=DASHBOARD_URL_KEY, value=url)
    operator.dashboard_url = url or operator.dashboard_url

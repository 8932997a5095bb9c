"""A typed client of Airflow's REST API (v2), for the local run and the live tests.

The official ``apache-airflow-client`` is not used: its import takes 1.1 s of CPU instead of 0.2 s, its models
refuse states of a newer Airflow, and it has no login, paging or waiting.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, Self, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from sandbox.airflow_settings import AirflowSettings
from sandbox.stack.processes.interruption import pause

PAGE_SIZE = 100

T = TypeVar("T")

#: Final states of a DAG run.
RUN_ENDED = frozenset({"success", "failed"})

#: Final states of a task instance.
TASK_ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


class AirflowApiError(Exception):
    """Airflow refused a request; the text has method, path, status and Airflow's reason."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Dag(msgspec.Struct, frozen=True, kw_only=True):
    """A DAG."""

    dag_id: str
    is_paused: bool
    next_dagrun_data_interval_start: dt.datetime | None = None


class DagRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run of a DAG."""

    dag_id: str
    dag_run_id: str
    state: str
    logical_date: dt.datetime | None = None
    data_interval_start: dt.datetime | None = None
    start_date: dt.datetime | None = None
    end_date: dt.datetime | None = None

    @property
    def ended(self) -> bool:
        """True if the state is final."""
        return self.state in RUN_ENDED


class TaskInstance(msgspec.Struct, frozen=True, kw_only=True):
    """One task instance of one run; ``map_index`` is -1 for a task that is not mapped."""

    dag_id: str
    dag_run_id: str
    task_id: str
    map_index: int
    try_number: int
    state: str | None = None
    hostname: str | None = None
    start_date: dt.datetime | None = None
    end_date: dt.datetime | None = None

    @property
    def ended(self) -> bool:
        """True if the state is final."""
        return self.state in TASK_ENDED


class Backfill(msgspec.Struct, frozen=True, kw_only=True):
    """A backfill; ``completed_at`` is None until all its runs have ended."""

    id: int
    dag_id: str
    completed_at: dt.datetime | None = None


class AirflowClient:
    """A client of one Airflow for one user of its SimpleAuthManager; a context manager.

    Tasks and XComs that are not mapped have the map index -1.

    :param url: Airflow's address, e.g. ``http://127.0.0.1:8080``.
    :param timeout: seconds for one answer; a busy machine has needed more than 30.
    """

    def __init__(self, url: str, username: str, password: str, *, timeout: float = 120) -> None:
        self.url = url
        self._credentials = {"username": username, "password": password}
        # trust_env=False: the loopback interface needs no proxy
        self._http = httpx.Client(base_url=url, timeout=timeout, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str, **params: Any) -> Any:
        """Return the JSON of any resource, e.g. ``get("pools/extend")``."""
        return self._json("GET", path, params=params)

    def token(self) -> str:
        """Log in and return the token; Airflow's own pages have it in the cookie ``_token``."""
        response = self._http.post("/auth/token", json=self._credentials)
        if response.is_error:
            raise AirflowApiError(f"login at {self.url} failed: {_detail(response)}", response.status_code)
        return str(response.json()["access_token"])

    # Airflow as a whole

    def health(self) -> dict[str, str | None]:
        """Return the status of each component, e.g. ``healthy``; empty while Airflow does not answer."""
        try:
            response = self._http.get("/api/v2/monitor/health", timeout=5)
            response.raise_for_status()
        except httpx.HTTPError:
            return {}
        return {name: (component or {}).get("status") for name, component in response.json().items()}

    def live_jobs(self, job_type: str, *, since: dt.datetime) -> int:
        """Return the number of jobs, e.g. ``TriggererJob``, started since then with a fresh heartbeat."""
        params = {"job_type": job_type, "is_alive": True, "start_date_gte": since.isoformat()}
        return len(self._json("GET", "jobs", params=params)["jobs"])

    def apply(self, settings: AirflowSettings) -> None:
        """Create connections, pools and variables, or overwrite existing ones.

        :raises AirflowApiError: Airflow refuses one of them; the text names it.
        """
        for collection, bodies in (
            ("connections", settings.connection_bodies()),
            ("pools", settings.pool_bodies()),
            ("variables", settings.variable_bodies()),
        ):
            action = {"action": "create", "entities": bodies, "action_on_existence": "overwrite"}
            if errors := self._json("PATCH", collection, json={"actions": [action]})["create"]["errors"]:
                reasons = "; ".join(str(error.get("error")) for error in errors)
                raise AirflowApiError(f"Airflow refused some {collection}: {reasons}", 400)

    def test_connection(self, connection: Mapping[str, Any]) -> tuple[bool, str]:
        """Test a connection like the Test button.

        :param connection: a connection in the form of the REST API (``ConnectionBody``).
        :return: True if it works, and the message of the form.
        """
        result = self._json("POST", "connections/test", json=connection)
        return result["status"], result["message"]

    # DAGs and runs

    def wait_for_dag(self, dag_id: str, *, timeout: float = 300) -> Dag:
        """Return the DAG as soon as its file has been parsed.

        :raises TimeoutError: it was not parsed in ``timeout`` seconds; the text has the import errors.
        """
        path = f"dags/{quote(dag_id)}"
        found = _poll(lambda: _found_or_none(lambda: self._typed(Dag, "GET", path)), timeout, interval=0.5)
        if found is None:
            errors = self.get("importErrors", limit=PAGE_SIZE)["import_errors"]
            traces = "".join(f"\n{error['filename']}:\n{error['stack_trace']}" for error in errors)
            raise TimeoutError(f"Airflow does not know the DAG {dag_id} after {timeout:.0f} s.{traces}")
        return found

    def parse_again(self, dag_id: str) -> None:
        """Have the file of a DAG parsed now."""
        token = self._json("GET", f"dags/{dag_id}")["file_token"]
        self._json("PUT", f"parseDagFile/{token}")

    def set_paused(self, dag_id: str, paused: bool) -> None:
        """Pause or unpause a DAG."""
        self._json("PATCH", f"dags/{quote(dag_id)}", json={"is_paused": paused})

    def trigger(
        self,
        dag_id: str,
        *,
        conf: Mapping[str, Any] | None = None,
        logical_date: dt.datetime | None = None,
        run_id: str | None = None,
    ) -> DagRun:
        """Start a manual run.

        :param conf: params of the run.
        :param logical_date: None starts a run without a date, like the form with an empty field.
        """
        body = {
            "conf": dict(conf or {}),
            "logical_date": None if logical_date is None else logical_date.isoformat(),
            "dag_run_id": run_id,
        }
        return self._typed(DagRun, "POST", f"dags/{quote(dag_id)}/dagRuns", json=body)

    def runs(self, dag_id: str, **filters: str) -> list[DagRun]:
        """Return the runs of a DAG, oldest first; ``filters`` are query parameters, e.g. ``run_type``."""
        path = f"dags/{quote(dag_id)}/dagRuns"
        return list(self._pages(DagRun, path, "dag_runs", order_by="run_after", **filters))

    def wait_for_run(
        self,
        dag_id: str,
        run_id: str,
        *,
        timeout: float,
        interval: float = 1,
        on_poll: Callable[[DagRun], None] | None = None,
    ) -> DagRun:
        """Return the run when it has ended.

        :param timeout: seconds.
        :param interval: seconds between two requests.
        :param on_poll: called after each request; may raise to stop waiting.
        :raises TimeoutError: it has not ended; the text has the states of its tasks.
        """

        def look() -> DagRun | None:
            run = self._typed(DagRun, "GET", _run_path(dag_id, run_id))
            if on_poll is not None:
                on_poll(run)
            return run if run.ended else None

        if (run := _poll(look, timeout, interval)) is not None:
            return run
        states = ", ".join(
            f"{task.task_id}[{task.map_index}]={task.state}" for task in self.tasks(dag_id, run_id)
        )
        raise TimeoutError(f"run {run_id} of {dag_id} has not ended after {timeout:.0f} s: {states}")

    def set_run_state(self, dag_id: str, run_id: str, state: Literal["queued", "success", "failed"]) -> None:
        """Mark a run, like the button in the UI."""
        self._json("PATCH", _run_path(dag_id, run_id), json={"state": state})

    def delete_run(self, dag_id: str, run_id: str) -> None:
        """Delete a run, like the button in the UI."""
        self._json("DELETE", _run_path(dag_id, run_id))

    def clear_run(self, dag_id: str, run_id: str) -> None:
        """Clear all tasks of a run."""
        body = {"dry_run": False, "only_failed": False}
        self._json("POST", f"{_run_path(dag_id, run_id)}/clear", json=body)

    # Tasks

    def tasks(self, dag_id: str, run_id: str) -> list[TaskInstance]:
        """Return all task instances of a run, including each mapped one."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances"
        return list(self._pages(TaskInstance, path, "task_instances", order_by="id"))

    def task(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> TaskInstance:
        """Return one task instance."""
        return self._typed(TaskInstance, "GET", _task_path(dag_id, run_id, task_id, map_index))

    def wait_for_task(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        states: Sequence[str],
        *,
        map_index: int = -1,
        timeout: float = 360,
        interval: float = 0.4,
    ) -> TaskInstance:
        """Return the task instance when it is in one of the states, e.g. ``("deferred",)``.

        :raises TimeoutError: it did not reach one of them; the text has its state and the end of its log.
        """
        last: TaskInstance | None = None

        def look() -> TaskInstance | None:
            nonlocal last
            # a mapped instance is created while its run is running
            last = _found_or_none(lambda: self.task(dag_id, run_id, task_id, map_index))
            return last if last is not None and last.state in states else None

        if (task := _poll(look, timeout, interval)) is not None:
            return task
        state, log = ("missing", "") if last is None else (last.state, f"\n{self._log_end(last)}")
        raise TimeoutError(
            f"{task_id}[{map_index}] is {state}, not {' or '.join(states)}, after {timeout:.0f} s{log}"
        )

    def set_task_state(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        state: Literal["success", "failed", "skipped"],
        map_index: int = -1,
    ) -> None:
        """Mark a task instance, like the button in the UI."""
        self._json("PATCH", _task_path(dag_id, run_id, task_id, map_index), json={"new_state": state})

    def clear_tasks(
        self,
        dag_id: str,
        run_id: str,
        task_ids: Sequence[str | tuple[str, int]],
        *,
        downstream: bool = False,
        reset_run: bool = True,
    ) -> None:
        """Clear tasks.

        :param task_ids: ids, or pairs of id and map index.
        :param downstream: also clear downstream tasks.
        :param reset_run: also restart the run if it has ended.
        """
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": list(task_ids),
            "only_failed": False,
            "include_downstream": downstream,
            "reset_dag_runs": reset_run,
        }
        self._json("POST", f"dags/{quote(dag_id)}/clearTaskInstances", json=body)

    def answer(self, dag_id: str, run_id: str, task_id: str, option: str) -> None:
        """Answer the question of a task to a person, like *Required Actions* in the UI."""
        path = f"{_task_path(dag_id, run_id, task_id)}/-1/hitlDetails"
        self._json("PATCH", path, json={"chosen_options": [option], "params_input": {}})

    def xcom(
        self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1
    ) -> Any:
        """Return the value of an XCom; None if it does not exist or is null."""
        path = f"{_task_path(dag_id, run_id, task_id)}/xcomEntries/{quote(key)}"
        entry = _found_or_none(lambda: self.get(path, map_index=map_index, deserialize=True))
        return None if entry is None else entry["value"]

    def log(self, task: TaskInstance) -> str:
        """Return the log of the latest try of a task instance, one event per line, with tracebacks."""
        path = f"{_task_path(task.dag_id, task.dag_run_id, task.task_id)}/logs/{task.try_number}"
        answer = self.get(path, map_index=task.map_index, full_content=True)
        return "\n".join(_log_line(event) for event in answer["content"])

    def failed_logs(self, dag_id: str, run_id: str) -> str:
        """Return the end of the log of each failed task of a run, with headings."""
        failed = [task for task in self.tasks(dag_id, run_id) if task.state == "failed"]
        return "\n".join(self._log_end(task) for task in failed)

    def _log_end(self, task: TaskInstance, lines: int = 30) -> str:
        heading = f"--- {task.task_id}[{task.map_index}], try {task.try_number}"
        log = _found_or_none(lambda: self.log(task)) or "no log: the task was not started"
        return "\n".join([heading, *log.splitlines()[-lines:]])

    # Backfills

    def create_backfill(
        self,
        dag_id: str,
        from_date: dt.datetime,
        to_date: dt.datetime,
        *,
        reprocess: Literal["none", "failed", "completed"] = "none",
        max_active_runs: int = 10,
    ) -> Backfill:
        """Start a backfill, like ``airflow backfill create``."""
        body = {
            "dag_id": dag_id,
            "from_date": from_date.isoformat(),
            "to_date": to_date.isoformat(),
            "reprocess_behavior": reprocess,
            "max_active_runs": max_active_runs,
        }
        return self._typed(Backfill, "POST", "backfills", json=body)

    def wait_for_backfill(self, backfill: Backfill, *, timeout: float, interval: float = 1) -> Backfill:
        """Return the backfill when all its runs have ended; raises TimeoutError."""

        def look() -> Backfill | None:
            now = self._typed(Backfill, "GET", f"backfills/{backfill.id}")
            return now if now.completed_at is not None else None

        if (done := _poll(look, timeout, interval)) is not None:
            return done
        raise TimeoutError(f"backfill {backfill.id} of {backfill.dag_id} has not ended after {timeout:.0f} s")

    # HTTP

    def _typed(self, kind: type[T], method: str, path: str, **arguments: Any) -> T:
        return msgspec.convert(self._json(method, path, **arguments), kind)

    def _pages(self, kind: type[T], path: str, field: str, **params: str) -> Iterator[T]:
        offset = 0
        while True:
            page = self._json("GET", path, params={**params, "limit": PAGE_SIZE, "offset": offset})
            yield from (msgspec.convert(item, kind) for item in page[field])
            offset += len(page[field])
            if offset >= page["total_entries"] or not page[field]:
                return

    def _json(self, method: str, path: str, **arguments: Any) -> Any:
        if "Authorization" not in self._http.headers:
            self._http.headers["Authorization"] = f"Bearer {self.token()}"
        response = self._http.request(method, f"/api/v2/{path}", **arguments)
        if response.is_error:
            raise AirflowApiError(
                f"{method} {path}: {response.status_code}: {_detail(response)}", response.status_code
            )
        return response.json() if response.content else None


def _poll(look: Callable[[], T | None], timeout: float, interval: float) -> T | None:
    deadline = time.monotonic() + timeout
    while (found := look()) is None and time.monotonic() < deadline:
        pause(interval)
    return found


def _found_or_none(look: Callable[[], T]) -> T | None:
    """Return the result of ``look``; None if Airflow answers 404."""
    try:
        return look()
    except AirflowApiError as error:
        if error.status == httpx.codes.NOT_FOUND:
            return None
        raise


def _detail(response: httpx.Response) -> str:
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return response.text[:500]


def _run_path(dag_id: str, run_id: str) -> str:
    return f"dags/{quote(dag_id)}/dagRuns/{quote(run_id)}"


def _task_path(dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> str:
    index = "" if map_index < 0 else f"/{map_index}"
    return f"{_run_path(dag_id, run_id)}/taskInstances/{quote(task_id)}{index}"


def _log_line(event: Mapping[str, Any] | str) -> str:
    if isinstance(event, str):
        return event
    line = f"{event.get('timestamp') or ''} {event.get('level') or ''} {event.get('event')}".strip()
    for error in event.get("error_detail") or ():
        frames = "".join(
            f"\n    {frame['filename']}:{frame['lineno']} in {frame['name']}"
            for frame in error.get("frames") or ()
        )
        line += f"{frames}\n  {error.get('exc_type')}: {error.get('exc_value')}"
    return line

"""What users build today: HttpOperator, HttpSensor, and tasks with boto3, requests and DuckDB.

It is written as a good engineer would: one batch for each thousand documents, everything mapped, sensors that
give their worker back between two looks, requests in parallel, large data in files, one writer at a time.

What it does not do: a retry of ``submit`` after a lost answer, or of the whole run, sends and pays again; the
presigned URLs are in XCom, because ``request`` returns them; a document that fails is a row without its
reason; nothing says which documents an earlier run has landed.
"""

from __future__ import annotations

import datetime as dt
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from airflow.providers.http.operators.http import HttpOperator
from airflow.providers.http.sensors.http import HttpSensor
from airflow.sdk import DAG, BaseHook, Param, Variable, task

CHUNK = 1000
REQUESTS_AT_A_TIME = 8
DONE = {"PROCESSED", "FAILED", "NEEDS_REVIEW", "CANCELLED", "REJECTED"}


def settled(response: Any) -> bool:
    """Return True if every run of the batch is done."""
    runs = response.json()["data"]
    return bool(runs) and all(run["status"] in DONE for run in runs)


with DAG(
    "bench_http",
    schedule=None,
    is_paused_upon_creation=False,
    default_args={"retries": 2, "retry_delay": dt.timedelta(minutes=1)},
    params={"bucket": Param(type="string"), "prefix": Param(type="string")},
):

    @task
    def chunks(params: Any = None) -> list[list[str]]:
        """List the documents."""
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook

        keys = S3Hook("aws_default").list_keys(params["bucket"], params["prefix"])
        return [keys[first : first + CHUNK] for first in range(0, len(keys), CHUNK)]

    @task
    def request(keys: list[str], params: Any = None) -> str:
        """Return the body of a batch."""
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook

        s3: Any = S3Hook("aws_default").get_conn()

        def presigned(key: str) -> str:
            place = {"Bucket": params["bucket"], "Key": key}
            return str(s3.generate_presigned_url("get_object", Params=place, ExpiresIn=1800))

        inputs = [{"file": {"url": presigned(key)}, "metadata": {"key": key}} for key in keys]
        return json.dumps({"workflow": {"id": Variable.get("extend_workflow_id")}, "inputs": inputs})

    submit = HttpOperator.partial(
        task_id="submit",
        http_conn_id="extend_api",
        method="POST",
        endpoint="/workflow_runs/batch",
        headers={"Content-Type": "application/json"},
        response_filter=lambda response: response.json()["batchId"],
    ).expand(data=request.expand(keys=chunks()))

    wait = HttpSensor.partial(
        task_id="wait",
        http_conn_id="extend_api",
        method="GET",
        endpoint="/workflow_runs",
        response_check=settled,
        mode="reschedule",
        # Airflow 3.3 learns up to five seconds late that a task has given its worker back. One that begins
        # again within them counts as failed, and waits for its retry.
        poke_interval=10,
    ).expand(request_params=submit.output.map(lambda batch_id: {"batchId": batch_id, "maxPageSize": CHUNK}))

    @task
    def fetch(batch_id: str) -> str:
        """Read every run of a batch into a file."""
        import requests

        extend = BaseHook.get_connection("extend_api")
        session = requests.Session()
        session.headers.update(extend.extra_dejson)

        def get(path: str, **query: Any) -> Any:
            answer = session.get(f"{extend.host}{path}", params=query, timeout=60)
            answer.raise_for_status()
            return answer.json()

        runs = get("/workflow_runs", batchId=batch_id, maxPageSize=CHUNK)["data"]
        folder = Path(Variable.get("extend_workspace").removeprefix("file://"))
        file = folder / f"{batch_id}.jsonl"
        with ThreadPoolExecutor(REQUESTS_AT_A_TIME) as pool, file.open("w") as lines:
            for run in pool.map(lambda run: get(f"/workflow_runs/{run['id']}"), runs):
                lines.write(json.dumps(run) + "\n")
        return str(file)

    @task(pool="duckdb_file")
    def load(file: str) -> int:
        """Load a file into DuckDB."""
        import duckdb

        with duckdb.connect(str(BaseHook.get_connection("warehouse_default").host)) as warehouse:
            warehouse.execute(
                "CREATE TABLE IF NOT EXISTS documents"
                " (run_id VARCHAR PRIMARY KEY, key VARCHAR, status VARCHAR, value JSON)"
            )
            (loaded,) = warehouse.execute(
                "INSERT OR REPLACE INTO documents"
                " SELECT id, metadata ->> 'key', status, stepRuns[1] -> '$.result.extractRun.output.value'"
                " FROM read_json(?, format = 'newline_delimited',"
                " columns = {id: 'VARCHAR', metadata: 'JSON', status: 'VARCHAR', stepRuns: 'JSON[]'})",
                [file],
            ).fetchall()[0]
        return int(loaded)

    fetched = fetch.expand(batch_id=submit.output)
    wait >> fetched
    load.expand(file=fetched)

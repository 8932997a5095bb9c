"""### Documents as they arrive

S3 announces each new object to a queue (SQS). While this DAG is not paused, the triggerer reads the queue and
writes the addresses into the workspace; with **50 documents, or after 5 minutes** with fewer, it starts a run
that takes everything that waits. So a trickle makes a batch every few minutes, and a flood a few large ones.

Nothing is lost and nothing is paid for twice: an address is in the queue or in the workspace until its
document has landed; a message that comes again, and the nightly run over the same objects, find the document
sent or landed. What the queue never announced, the nightly run finds. A run without documents is a success
without a request to Extend.

| Variable | Meaning |
|---|---|
| `extend_arrivals_queue` | URL of the queue that the bucket announces its objects to; nothing else reads it |
| `extend_workflow_id` | the Extend workflow |
| `extend_workspace` | the one that the other DAGs use; outside of what the bucket announces |

The connection `aws_default` reads the queue and the documents: `sqs:ReceiveMessage`, `sqs:DeleteMessage`,
`sqs:ChangeMessageVisibility`, `sqs:GetQueueAttributes`, and what the nightly run needs in S3. Give the queue
a **dead-letter queue**, to which goes what is no announcement of S3. The triggerer's log names what was left
out.
"""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG

from extend_deployment import DEPLOYMENT
from extend_pipeline import Arrivals, Quality, documents_to_warehouse

ARRIVALS = Arrivals(
    "{{ var.value.extend_arrivals_queue }}",
    name="extend_arrivals",
    at_least=50,
    or_after=dt.timedelta(minutes=5),
    conn_id="aws_default",
)

with DAG(
    "extend_arrivals",
    description="Documents as they arrive: S3, through Extend, into the warehouse.",
    schedule=[ARRIVALS.asset(DEPLOYMENT)],
    start_date=dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    max_active_runs=4,
    default_args={"owner": "data-platform", "retries": 3, "retry_delay": dt.timedelta(minutes=1)},
    tags=["extend", "documents"],
    doc_md=__doc__,
):
    documents_to_warehouse(
        DEPLOYMENT,
        source=ARRIVALS,
        workflow="{{ var.value.extend_workflow_id }}",
        quality=Quality(max_failed_ratio=0.5),
    )

"""Runs over buckets as AWS has them: KMS keys, archives, regions; a refusal costs nothing, or is one row."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest

from fixtures.airflow.dag_runs import Outside
from sandbox.documents import generate
from sandbox.s3 import client

BATCH = "POST /workflow_runs/batch"
KMS = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "key-1"}
DAY = dt.date(2026, 11, 19)
SOURCE = "documents/2026-11-19/"

RunDag = Callable[..., Any]


def fill(outside: Outside, bucket: str = "inbox", region: str = "us-east-1") -> list[str]:
    """Store four good documents under SSE-KMS; return their keys."""
    near = client(outside.s3.endpoint_url, region)
    good = [each for each in generate(days=[DAY], per_day=20, seed=11) if each.truth.status == "PROCESSED"][
        :4
    ]
    keys = [f"{SOURCE}{number}.{sample.key.rpartition('.')[2]}" for number, sample in enumerate(good)]
    for key, sample in zip(keys, good, strict=True):
        near.put_object(Bucket=bucket, Key=key, Body=sample.data, **KMS)
    return keys


def by_hand(run_dag: RunDag, source: str = f"s3://inbox/{SOURCE}") -> Any:
    return run_dag("extend_on_demand", logical_date=None, run_conf={"source": source})


@pytest.mark.parametrize("place", [0, 2], ids=["the first", "one in the middle"])
def test_one_object_under_another_key_stops_no_other(outside: Outside, run_dag: RunDag, place: int) -> None:
    keys = fill(outside)
    outside.s3.rule("inbox", keys[place], deny=["kms:Decrypt"])
    by_hand(run_dag)
    ended = {key: status for key, (status, _) in outside.statuses().items()}
    assert ended == {key: "FAILED" if key == keys[place] else "PROCESSED" for key in keys}
    assert set(outside.extend.stats()["runs_created"].values()) == {1}


def test_a_bucket_of_which_nothing_may_be_decrypted_costs_nothing(
    outside: Outside, run_dag: RunDag, capfd: pytest.CaptureFixture[str]
) -> None:
    fill(outside)
    outside.s3.rule("inbox", deny=["kms:Decrypt"])
    run = by_hand(run_dag)
    assert run.state == "failed"
    told = capfd.readouterr().err
    assert "Missing: kms:Decrypt" in told
    assert "key-1" in told
    assert outside.extend.requests_to(BATCH) == 0
    assert outside.statuses() == {}
    outside.s3.clear_rules()
    assert by_hand(run_dag).state == "success"
    assert {status for status, _ in outside.statuses().values()} == {"PROCESSED"}


def test_what_is_archived_has_its_row_and_goes_when_it_is_restored(outside: Outside, run_dag: RunDag) -> None:
    keys = fill(outside)
    body = outside.s3.client.get_object(Bucket="inbox", Key=keys[1])["Body"].read()
    outside.s3.client.put_object(Bucket="inbox", Key=keys[1], Body=body, StorageClass="GLACIER")
    assert by_hand(run_dag).state == "success"
    assert outside.statuses().pop(keys[1]) == ("SKIPPED", "OBJECT_ARCHIVED")
    outside.s3.client.restore_object(Bucket="inbox", Key=keys[1], RestoreRequest={"Days": 1})
    assert by_hand(run_dag).state == "success"
    assert {status for status, _ in outside.statuses().values()} == {"PROCESSED"}
    assert set(outside.extend.stats()["runs_created"].values()) == {1}


def test_a_bucket_of_another_region_needs_no_setting(outside: Outside, run_dag: RunDag) -> None:
    outside.s3.bucket("far", "eu-central-1")
    keys = fill(outside, "far", "eu-central-1")
    assert by_hand(run_dag, f"s3a://far/{SOURCE}").state == "success"
    landed = outside.rows("SELECT uri, status FROM extend.documents ORDER BY uri")
    assert landed == [(f"s3://far/{key}", "PROCESSED") for key in keys]

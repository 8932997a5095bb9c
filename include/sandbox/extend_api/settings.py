"""The settings of the emulator, at start and while it runs.

The field names are the switches of the command line (``--listing-lag-seconds 3``) and the keys of
``PATCH /_sandbox/settings``. "Contract, 11.n" marks a point that could not be verified against the real
service; the default is the likelier behaviour.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

NonNegative = Annotated[float, Meta(ge=0)]
Fraction = Annotated[float, Meta(ge=0, le=1)]


class OutcomeRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How matching runs end. The first matching rule wins; all conditions of a rule must hold.

    :param status: final status of the run; a status unknown to Extend is returned unchanged.
    :param name_glob: shell pattern for one of the run's file names.
    :param metadata: pairs that the run's metadata contains.
    :param fraction: share of the inputs, chosen by a hash of the input's key: always the same inputs.
    :param first_attempts: number of runs of the same input that the rule applies to; it ignores later runs.
    :param reason: ``failureReason`` of a FAILED run.
    :param message: ``failureMessage`` of a FAILED run, ``rejectionNote`` of a REJECTED one.
    """

    status: str
    name_glob: str | None = None
    metadata: dict[str, Any] | None = None
    fraction: Fraction = 1.0
    first_attempts: Annotated[int, Meta(ge=1)] | None = None
    reason: str = "INTERNAL_ERROR"
    message: str | None = None


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A failure between client and service, for matching requests.

    :param endpoint: method and path template, e.g. ``POST /workflow_runs/batch``; ``*`` is every endpoint.
    :param kind: ``error`` answers ``status``; ``rate_limit`` answers 429; ``drop`` aborts the connection
        without an answer; ``slow`` answers after ``seconds``; ``late`` is the same, but the request takes
        effect even if its client has left; ``malformed`` answers truncated JSON.
    :param accepted: the request takes effect before the failure. A slow request that is not accepted takes no
        effect if its client has left.
    :param count: number of requests that fail; None is all of them.
    :param skip: number of matching requests before the first failure.
    :param retry_after: seconds in the ``Retry-After`` header of ``error`` and ``rate_limit``.
    """

    endpoint: str = "*"
    kind: Literal["error", "rate_limit", "drop", "slow", "late", "malformed"] = "error"
    accepted: bool = False
    count: Annotated[int, Meta(ge=1)] | None = 1
    skip: Annotated[int, Meta(ge=0)] = 0
    status: Annotated[int, Meta(ge=400, le=599)] = 500
    seconds: NonNegative = 0.0
    retry_after: NonNegative | None = None


class WebhookFault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A failure of the delivery of matching events. All faults that match an event apply to it together.

    :param kind: ``lose`` delivers it never; ``delay`` delivers it after ``seconds``; ``reorder`` lets a later
        event overtake it, but waits no longer than ``seconds``; ``repeat`` delivers it once more after it was
        accepted; ``forge`` sends, before it, a false one with a wrong signature; ``old`` has a timestamp that
        is ``seconds`` old; ``url`` sends its payload as a signed URL.
    :param event: type of the event, e.g. ``workflow_run.completed``; ``*`` is every type.
    :param fraction: share of the inputs, chosen by a hash of the input's key: always the same inputs.
    :param count: number of events that it hits; None is all of them.
    :param skip: number of matching events before the first one that it hits.
    """

    kind: Literal["lose", "delay", "reorder", "repeat", "forge", "old", "url"]
    event: str = "*"
    fraction: Fraction = 1.0
    count: Annotated[int, Meta(ge=1)] | None = None
    skip: Annotated[int, Meta(ge=0)] = 0
    seconds: NonNegative = 0.0


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The settings and their defaults; see the module."""

    # The engine: how runs are processed.
    hold: Annotated[bool, Meta(description="Start no run; submitted runs stay queued.")] = False
    synthetic: Annotated[
        bool, Meta(description="Read no file; results only have the file's name. For tests of scale.")
    ] = False
    latency_seconds: Annotated[
        NonNegative, Meta(description="Time that a run is PROCESSING, besides the work itself.")
    ] = 0.0
    latency_max_seconds: Annotated[
        NonNegative | None,
        Meta(description="If set, the latency is random between latency_seconds and this."),
    ] = None
    max_concurrent_runs: Annotated[int, Meta(ge=1, description="Runs that are PROCESSING at a time.")] = 32
    runs_per_minute: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Throughput; above it POST /workflow_runs gets 429 and batches are slowed down."),
    ] = None
    cancelling_seconds: Annotated[
        NonNegative, Meta(description="Time that a cancelled run is CANCELLING.")
    ] = 0.1
    download_timeout_seconds: Annotated[
        float, Meta(gt=0, description="Timeout for the download of one input.")
    ] = 30.0
    credits_per_page: Annotated[
        NonNegative, Meta(description="Credits per page of an extract, classify or split run.")
    ] = 1.0
    parse_credits_per_page: Annotated[
        NonNegative,
        Meta(description="Credits per page of the parse run before the first step over a file."),
    ] = 0.0
    no_credits: Annotated[bool, Meta(description="Refuse new runs with 402 USAGE_BLOCKED.")] = False
    outcomes: Annotated[
        tuple[OutcomeRule, ...],
        Meta(description="How runs end; a JSON list of OutcomeRule."),
    ] = ()

    # The traffic: limits and failures of requests.
    requests_per_second: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="Rate limit, counted separately for read and write requests; 429 above it."),
    ] = None
    rate_window: Annotated[
        Literal["bucket", "fixed", "sliding"],
        Meta(description="How the rate limit counts: tokens that refill, clock seconds, or any one second."),
    ] = "bucket"
    rate_burst: Annotated[
        float, Meta(gt=0, description="Size of that bucket, in seconds of the rate; at least one request.")
    ] = 1.0
    retry_after: Annotated[
        Literal["none", "seconds", "date"],
        Meta(description="Format of Retry-After on a 429 (contract, 11.8)."),
    ] = "seconds"
    retry_after_seconds: Annotated[NonNegative, Meta(description="Time in Retry-After.")] = 1.0
    faults: Annotated[tuple[Fault, ...], Meta(description="Failures of requests; a JSON list of Fault.")] = ()

    # The webhooks.
    webhook_attempts: Annotated[
        int, Meta(ge=1, description="Attempts to deliver an event (contract, 11.6).")
    ] = 5
    webhook_retry_seconds: Annotated[
        NonNegative,
        Meta(description="Time before the second attempt; it doubles for each further one (contract, 11.6)."),
    ] = 5.0
    webhook_timeout_seconds: Annotated[
        float, Meta(gt=0, description="Timeout for the answer to a delivery.")
    ] = 30.0
    webhook_concurrency: Annotated[int, Meta(ge=1, description="Deliveries that are sent at a time.")] = 16
    webhook_faults: Annotated[
        tuple[WebhookFault, ...], Meta(description="Failures of deliveries; a JSON list of WebhookFault.")
    ] = ()

    # The listing.
    listing_lag_seconds: Annotated[
        NonNegative, Meta(description="Time that a new batch's runs are not listed (contract, 11.3).")
    ] = 0.0
    listing_lag_halves: Annotated[
        bool, Meta(description="Only the second half of each batch has the lag.")
    ] = False
    listing_lag_second_half_seconds: Annotated[
        NonNegative, Meta(description="Additional lag of the second half of each batch.")
    ] = 0.0
    max_page_size: Annotated[
        int, Meta(ge=1, le=1000, description="The server's own limit of a page, below the requested size.")
    ] = 1000
    page_size_over_limit: Annotated[
        Literal["reject", "cap"], Meta(description="Answer to a maxPageSize above 1000 (contract, 11.14).")
    ] = "reject"
    repeat_between_pages: Annotated[
        int, Meta(ge=0, description="Number of runs of a page that are repeated on the next one.")
    ] = 0
    longest_list: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="Maximum number of runs in a listing.")
    ] = None
    beyond_longest_list: Annotated[
        Literal["end", "circle", "error"],
        Meta(description="After that maximum the listing ends, repeats its last page, or gets a 500."),
    ] = "end"
    shuffle_pages: Annotated[bool, Meta(description="Each page of runs is in random order.")] = False
    last_page_token: Annotated[
        Literal["absent", "null"], Meta(description="nextPageToken on the last page of a listing.")
    ] = "absent"
    invalid_page_token: Annotated[
        Literal["reject", "restart"],
        Meta(description="A token of another query gets 400 or the first page (contract, 11.13)."),
    ] = "reject"

    # The other unverified points of the contract.
    metadata_keys: Annotated[
        Literal["brackets", "dots"],
        Meta(description="Metadata keys: line_items[0].amount or line_items.0.amount (contract, 3.8)."),
    ] = "brackets"
    nothing_found: Annotated[
        Literal["nulls", "null"],
        Meta(description="Value of an extraction that found no field: all fields null, or null itself."),
    ] = "nulls"
    organization_key: Annotated[
        bool, Meta(description="The key is organization-scoped, so x-extend-workspace-id is required.")
    ] = False
    workspace_id: Annotated[str, Meta(description="Id of the only workspace.")] = "ws_sandbox"
    validation_status: Annotated[
        Literal[400, 422], Meta(description="Status of INVALID_REQUEST (contract, 11.1).")
    ] = 400
    initial_status: Annotated[
        Literal["PENDING", "PROCESSING"], Meta(description="Status of a new run (contract, 11.2).")
    ] = "PENDING"
    unreachable_url: Annotated[
        Literal["fail_run", "reject_batch"],
        Meta(description="An unreadable URL fails its run, or the whole batch is refused (contract, 11.3)."),
    ] = "fail_run"
    cancel_refusal_status: Annotated[
        Literal[400, 409, 422], Meta(description="Status of a refused cancellation (contract, 11.4).")
    ] = 400
    max_file_bytes: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="Size limit of a file (contract, 11.5).")
    ] = None
    batch_status: Annotated[
        Literal["not_found", "batch_run"],
        Meta(description="Answer to GET /batch_runs/{id} for a workflow batch (contract, 11.9)."),
    ] = "not_found"
    review_steps: Annotated[
        bool, Meta(description="stepRuns of reviewed runs have a HUMAN_REVIEW step (contract, 11.10).")
    ] = False
    max_queued_runs: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Maximum number of queued runs; more get 429 (contract, 11.11)."),
    ] = None
    deleted_status: Annotated[
        Literal[404, 410], Meta(description="Status of GET for a deleted run (contract, 11.12).")
    ] = 404


def patched(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """Return ``settings`` with ``changes`` applied.

    :raises msgspec.ValidationError: a name is unknown or a value has the wrong type; the text names it.
    """
    return msgspec.convert({**msgspec.to_builtins(settings), **changes}, Settings)

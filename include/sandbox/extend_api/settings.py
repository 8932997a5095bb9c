"""Everything about the emulator that can be changed, at start and while it runs.

The field names are the command line's switches (``--listing-lag-seconds 3``) and the keys of
``PATCH /_sandbox/settings``. "Contract, 11.n" marks a point that could not be verified against the real
service: the default is the likelier answer, the other one is a switch away.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

NonNegative = Annotated[float, Meta(ge=0)]
Fraction = Annotated[float, Meta(ge=0, le=1)]


class OutcomeRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How runs that match end. The first rule that matches wins; all conditions of a rule must hold.

    :param status: the status the run ends with; a value Extend does not have is passed on as it is.
    :param name_glob: shell pattern that one of the run's file names matches.
    :param metadata: pairs that the run's metadata contains.
    :param fraction: share of the inputs it applies to, chosen by a hash of the input's key: always the same.
    :param first_attempts: only the first so many runs of the same input; later ones go their normal way.
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
    """What goes wrong between client and service, for the requests that match.

    :param endpoint: method and path template, e.g. ``POST /workflow_runs/batch``; ``*`` is every endpoint.
    :param kind: ``error`` answers ``status``; ``rate_limit`` answers 429; ``drop`` cuts the connection and
        gives no answer; ``slow`` answers after ``seconds``; ``late`` does so, too, and takes effect then even
        if its client has left; ``malformed`` answers JSON that breaks off.
    :param accepted: whether the request takes effect before it goes wrong. A slow one that is not yet
        accepted takes no effect if its client has left by then.
    :param count: how many requests it strikes; None is all of them.
    :param skip: how many matching requests pass unharmed first.
    :param retry_after: seconds for a ``Retry-After`` header on ``error`` and ``rate_limit``.
    """

    endpoint: str = "*"
    kind: Literal["error", "rate_limit", "drop", "slow", "late", "malformed"] = "error"
    accepted: bool = False
    count: Annotated[int, Meta(ge=1)] | None = 1
    skip: Annotated[int, Meta(ge=0)] = 0
    status: Annotated[int, Meta(ge=400, le=599)] = 500
    seconds: NonNegative = 0.0
    retry_after: NonNegative | None = None


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The settings and their defaults; see the module."""

    # The engine: how runs are worked on.
    hold: Annotated[bool, Meta(description="Start no run: everything submitted stays where it is.")] = False
    synthetic: Annotated[
        bool,
        Meta(description="Read nothing: a result has no more than the file's name; for questions of scale."),
    ] = False
    latency_seconds: Annotated[
        NonNegative, Meta(description="How long a run is PROCESSING, besides the work itself.")
    ] = 0.0
    latency_max_seconds: Annotated[
        NonNegative | None,
        Meta(description="With it, latency is drawn between latency_seconds and this."),
    ] = None
    max_concurrent_runs: Annotated[int, Meta(ge=1, description="How many runs are PROCESSING at a time.")] = (
        32
    )
    runs_per_minute: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Throughput: POST /workflow_runs above it gets 429; batches are paced."),
    ] = None
    cancelling_seconds: Annotated[
        NonNegative, Meta(description="How long a cancelled run is CANCELLING.")
    ] = 0.1
    download_timeout_seconds: Annotated[
        float, Meta(gt=0, description="How long the download of one input may take.")
    ] = 30.0
    credits_per_page: Annotated[
        NonNegative, Meta(description="Credits of one extract or classify run, per page.")
    ] = 1.0
    parse_credits_per_page: Annotated[
        NonNegative,
        Meta(description="Credits, per page, of the parse run that reads a file for the first step over it."),
    ] = 0.0
    no_credits: Annotated[bool, Meta(description="Refuse new runs with 402 USAGE_BLOCKED.")] = False
    outcomes: Annotated[
        tuple[OutcomeRule, ...],
        Meta(description="How runs end: a JSON list of OutcomeRule."),
    ] = ()

    # The traffic: what happens to requests.
    requests_per_second: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="Rate limit, for reading and for writing requests separately; 429 above it."),
    ] = None
    retry_after: Annotated[
        Literal["none", "seconds", "date"],
        Meta(description="What a 429 carries as Retry-After (contract, 11.8)."),
    ] = "seconds"
    retry_after_seconds: Annotated[NonNegative, Meta(description="The time a Retry-After names.")] = 1.0
    faults: Annotated[
        tuple[Fault, ...], Meta(description="What goes wrong with requests (JSON list of Fault).")
    ] = ()

    # The listing.
    listing_lag_seconds: Annotated[
        NonNegative, Meta(description="How long a batch's runs are missing from lists (contract, 11.3).")
    ] = 0.0
    listing_lag_halves: Annotated[
        bool, Meta(description="The lag strikes only the second half of each batch.")
    ] = False
    listing_lag_second_half_seconds: Annotated[
        NonNegative, Meta(description="How much longer the second half of each batch is missing.")
    ] = 0.0
    max_page_size: Annotated[
        int, Meta(ge=1, le=1000, description="The server's own cap on a page, below what was asked for.")
    ] = 1000
    page_size_over_limit: Annotated[
        Literal["reject", "cap"], Meta(description="What maxPageSize above 1000 gets (contract, 11.14).")
    ] = "reject"
    repeat_between_pages: Annotated[
        int, Meta(ge=0, description="How many runs of a page come again at the head of the next one.")
    ] = 0
    longest_list: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="How many runs can be listed of a longer list.")
    ] = None
    beyond_longest_list: Annotated[
        Literal["end", "circle", "error"],
        Meta(description="What follows then: no page, as if that were all; the same page for ever; a 500."),
    ] = "end"
    shuffle_pages: Annotated[bool, Meta(description="Each page of runs comes in another order.")] = False
    last_page_token: Annotated[
        Literal["absent", "null"], Meta(description="nextPageToken on the last page of a list.")
    ] = "absent"
    invalid_page_token: Annotated[
        Literal["reject", "restart"],
        Meta(description="A token of another query: 400, or the first page (contract, 11.13)."),
    ] = "reject"

    # The other unverified points of the contract.
    metadata_keys: Annotated[
        Literal["brackets", "dots"],
        Meta(description="An extraction's metadata: line_items[0].amount or .0.amount (contract, 3.8)."),
    ] = "brackets"
    nothing_found: Annotated[
        Literal["nulls", "null"],
        Meta(description="The value of an extraction without a single one: its fields, or null."),
    ] = "nulls"
    organization_key: Annotated[
        bool, Meta(description="The key is organization-scoped: x-extend-workspace-id is required.")
    ] = False
    workspace_id: Annotated[str, Meta(description="The one workspace there is.")] = "ws_sandbox"
    validation_status: Annotated[
        Literal[400, 422], Meta(description="Status of INVALID_REQUEST (contract, 11.1).")
    ] = 400
    initial_status: Annotated[
        Literal["PENDING", "PROCESSING"], Meta(description="Status of a run just created (contract, 11.2).")
    ] = "PENDING"
    unreachable_url: Annotated[
        Literal["fail_run", "reject_batch"],
        Meta(description="Whether one URL with no fit file refuses the whole batch (contract, 11.3)."),
    ] = "fail_run"
    cancel_refusal_status: Annotated[
        Literal[400, 409, 422], Meta(description="Cancelling what cannot be cancelled (contract, 11.4).")
    ] = 400
    max_file_bytes: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="Size limit of a file (contract, 11.5).")
    ] = None
    batch_status: Annotated[
        Literal["not_found", "batch_run"],
        Meta(description="GET /batch_runs/{id} of a workflow batch (contract, 11.9)."),
    ] = "not_found"
    review_steps: Annotated[
        bool, Meta(description="A HUMAN_REVIEW step stands in stepRuns of reviewed runs (contract, 11.10).")
    ] = False
    max_queued_runs: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="How many runs may wait; beyond it new ones get 429 (contract, 11.11)."),
    ] = None
    deleted_status: Annotated[
        Literal[404, 410], Meta(description="GET of a run that was deleted (contract, 11.12).")
    ] = 404


def patched(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """Return ``settings`` with ``changes`` on top.

    :raises msgspec.ValidationError: for an unknown name or a value of the wrong type, naming it.
    """
    return msgspec.convert({**msgspec.to_builtins(settings), **changes}, Settings)

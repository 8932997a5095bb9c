"""The ledger of submissions: the intent to send, and the batch or runs that resulted.

:class:`TaskStateLedger` keeps it in Airflow's task state store. A task has one submission, a batch, or
several parts one after the other: requests that create single runs.

The store survives a retry. On Airflow 3.3 it survives a clear too, on 3.4 it may not. So each attempt writes
an entry before it does anything else. If earlier attempts have no entry, one of them may have submitted, and
the batch is searched for at Extend before anything is sent.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args
from urllib.parse import urlsplit

from extend_provider.batch.attempts import first_try, generation, is_generation_of
from extend_provider.batch.orphans import IdempotencyKey
from extend_provider.client import validation
from extend_provider.client.models import BatchInput, FileInput, RunInput
from extend_provider.exceptions import ExtendInputError

if TYPE_CHECKING:
    from airflow.sdk import Context

    from extend_provider.hooks.extend import ExtendHook

#: What a cleared task does with the batch that was submitted before: use it, or submit a new one.
OnClear = Literal["reattach", "resubmit"]
ON_CLEAR: tuple[str, ...] = get_args(OnClear)

#: What happens if the inputs differ from those that were submitted: an error, or the batch is used anyway.
OnChangedInputs = Literal["fail", "reattach"]
ON_CHANGED_INPUTS: tuple[str, ...] = get_args(OnChangedInputs)

#: Key in the metadata of every input of the submission's idempotency key, the number of inputs, and their
#: fingerprint: ``identity.since/count/fingerprint``, or ``…/part:count/fingerprint``.
METADATA_KEY = "airflow_submission"
#: Key in the task state store.
TASK_STATE_KEY = "extend_submission"
#: Key of the inputs' fingerprint among an intent's details.
INPUTS_KEY = "inputs"
#: Key of the parts' entries in a task's.
PARTS_KEY = "parts"
#: Hexadecimal digits of a fingerprint.
FINGERPRINT_LENGTH = 12


@dataclasses.dataclass(frozen=True, slots=True)
class Intent:
    """A submission that was about to be made.

    :param number: 1 for the first submission of this work, 2 for the one after a proven absence, …
    :param begun_at: RFC 3339 with offset, right before the request.
    :param window: seconds after ``begun_at`` in which the request may still be accepted.
    :param run_count: how many inputs it has.
    :param details: what the ledger's owner needs with it later; small and plain JSON.
    """

    number: int
    begun_at: str
    window: float
    run_count: int
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def begun(self) -> dt.datetime:
        """When the request was about to be made."""
        return dt.datetime.fromisoformat(self.begun_at)


@dataclasses.dataclass(frozen=True, slots=True)
class LedgerState:
    """What is known of one piece of work: its latest intent, and the result.

    :param batch_id: the batch, once its id has been recorded; of single runs their ids, see
        :mod:`extend_provider.batch.run_submission`.
    :param withdrawn: the intent's request provably created nothing.
    """

    intent: Intent | None = None
    batch_id: str | None = None
    withdrawn: bool = False


class Ledger(Protocol):
    """Stores intents and batch ids. What cannot be read raises an error; it never counts as absent."""

    def read(self) -> LedgerState:
        """Return what is known."""
        ...

    def begin(self, intent: Intent) -> bool:
        """Write the intent atomically unless one with its number exists; return whether this call wrote."""
        ...

    def withdraw(self, intent: Intent) -> None:
        """Record that an intent's request provably created nothing; its number stays in use."""
        ...

    def record(self, intent: Intent, batch_id: str) -> None:
        """Record the batch that an intent's request created."""
        ...


def fingerprint(inputs: Sequence[BatchInput | RunInput], metadata: Mapping[str, Any] | None = None) -> str:
    """Return a short hash of the inputs, in order, by which a later attempt detects changed inputs.

    What usually changes between two attempts is left out: a URL's query, passwords, secrets.

    :param metadata: of all inputs together, where they have none of their own.
    """
    canonical = json.dumps([metadata, [_identified(each) for each in inputs]], sort_keys=True, default=str)
    return hashlib.sha256(canonical.encode(errors="surrogatepass")).hexdigest()[:FINGERPRINT_LENGTH]


def _identified(given: BatchInput | RunInput) -> list[Any]:
    return [_file_parts(given.file), given.metadata if isinstance(given, BatchInput) else given.outputs]


def _file_parts(file: FileInput) -> list[str | None]:
    parts = urlsplit(file.url) if file.url is not None else None
    address = None if parts is None else f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return [address, file.file_id, file.text, file.name]


@dataclasses.dataclass(frozen=True, slots=True)
class TaskStateLedger:
    """A :class:`Ledger` of a task instance; Airflow lets one attempt at a time write it.

    :param store: Airflow's task state store of the task instance.
    :param identity: identifies the task instance's submissions to a workflow version.
    :param since: the generation of attempts that has begun the submission, see
        :func:`~extend_provider.batch.attempts.generation`.
    :param current: the generation of this attempt.
    :param first: the number of the first attempt of this generation.
    :param on_clear: see :data:`OnClear`.
    :param number: of the part, from 1; None: the submission has none.
    """

    store: Any
    identity: str
    since: str
    current: str
    first: int
    on_clear: OnClear
    number: int | None = None

    @classmethod
    def open(
        cls,
        context: Context,
        hook: ExtendHook,
        *,
        workflow_id: str,
        version: str | None,
        retries: int,
        on_clear: OnClear,
    ) -> TaskStateLedger:
        """Return the ledger of the task instance, after writing this attempt's entry.

        :param hook: its settings say how long Extend may accept a request that is in flight.
        :param retries: the task's ``retries``.
        """
        ti, store = context["ti"], context["task_state_store"]
        parts = (ti.dag_id, ti.run_id, ti.task_id, str(ti.map_index), workflow_id, version or "")
        identity = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
        current = generation(ti)
        entry: Any = store.get(TASK_STATE_KEY)
        known = entry if entry and entry["identity"] == identity else None
        begun = bool(entry) and is_generation_of(ti, retries, entry["generation"])
        goes_on = known is not None and (on_clear == "reattach" or begun)
        if entry and known is None and (on_clear == "reattach" or begun):
            _refuse_other_workflow(entry)
        since = known["since"] if known is not None and goes_on else current
        first = known["first"] if known is not None and begun else ti.try_number
        ledger = cls(store, identity, since, current, first, on_clear)
        if goes_on:
            store.set(TASK_STATE_KEY, {**entry, **ledger._origin}, retention=_never())
        else:
            lost = not entry and ti.try_number > (first_try(ti, retries) if on_clear == "resubmit" else 1)
            ledger._write(lost_intent(context, hook) if lost else None)
        return ledger

    def part(self, number: int) -> TaskStateLedger:
        """Return the ledger of one part."""
        entry = dataclasses.replace(self, number=number)._entry()
        return dataclasses.replace(self, number=number, since=entry["since"])

    def parts(self) -> list[LedgerState]:
        """Return what is known of the parts that have been begun, in their order."""
        begun = self.store.get(TASK_STATE_KEY).get(PARTS_KEY, {})
        return [self.part(number).read() for number in sorted(map(int, begun))]

    def is_cleared(self, ti: Any) -> bool:
        """Return True if this is the first attempt since the task was cleared."""
        return bool(1 < ti.try_number == self.first)

    def renewed(self) -> TaskStateLedger:
        """Return the ledger of a new submission, which this generation begins."""
        ledger = dataclasses.replace(self, since=self.current)
        ledger._write(None)
        return ledger

    def read(self) -> LedgerState:
        """Return what this and earlier attempts have written."""
        entry = self._entry()
        if (intent := entry.get("intent")) is None:
            return LedgerState()
        return LedgerState(Intent(**intent), entry.get("batch_id"), withdrawn=entry.get("withdrawn", False))

    def begin(self, intent: Intent) -> bool:
        """Write the intent."""
        self._write(intent)
        return True

    def withdraw(self, intent: Intent) -> None:
        """Record that the intent's request created nothing."""
        self._write(intent, withdrawn=True)

    def record(self, intent: Intent, batch_id: str) -> None:
        """Record the batch."""
        self._write(intent, batch_id=batch_id)

    def with_key(
        self, metadata: Mapping[str, Any] | None, count: int, inputs: str, field: str = "metadata"
    ) -> dict[str, Any]:
        """Return the metadata of an input with the idempotency key in it.

        :param count: how many inputs are sent together.
        :param inputs: the fingerprint of all the task's inputs.
        :raises ExtendInputError: with it the metadata is too large, or :data:`METADATA_KEY` is taken.
        """
        if metadata is not None and METADATA_KEY in metadata:
            raise ExtendInputError(
                f"{field} has the key {METADATA_KEY!r}, which is reserved; use another one."
            )
        key = f"{self.identity}.{self.since}/{self._prefix}{count}/{inputs}"
        return validation.metadata({**(metadata or {}), METADATA_KEY: key}, field) or {}

    @property
    def key(self) -> IdempotencyKey:
        """The idempotency key of the submission's runs."""
        # Task state was lost, so match every generation; the listing is newest first, so the latest wins.
        intent = self.read().intent
        lost = intent is not None and not intent.run_count and self.on_clear == "reattach"
        since = "*" if lost else self.since
        return IdempotencyKey({METADATA_KEY: f"{self.identity}.{since}/{self._prefix}*"})

    @property
    def _prefix(self) -> str:
        return "" if self.number is None else f"{self.number}:"

    @property
    def _origin(self) -> dict[str, Any]:
        now = {"generation": self.current, "first": self.first}
        return {"identity": self.identity, "since": self.since, **now}

    def _entry(self) -> dict[str, Any]:
        """Return the entry of the submission, or of the part; that of the submission if the part has none."""
        entry: dict[str, Any] = self.store.get(TASK_STATE_KEY)
        part: dict[str, Any] = entry.get(PARTS_KEY, {}).get(str(self.number), entry)
        return part

    def _write(self, intent: Intent | None, **facts: Any) -> None:
        if intent is not None:
            facts["intent"] = {**dataclasses.asdict(intent), "details": dict(intent.details)}
        entry = {**self._origin, **facts}
        if self.number is not None:
            entry = dict(self.store.get(TASK_STATE_KEY))
            entry[PARTS_KEY] = {**entry.get(PARTS_KEY, {}), str(self.number): {"since": self.since, **facts}}
        self.store.set(TASK_STATE_KEY, entry, retention=_never())


def _never() -> Any:
    from airflow.sdk.execution_time.context import NEVER_EXPIRE

    return NEVER_EXPIRE


def lost_intent(context: Context, hook: ExtendHook) -> Intent:
    """Return the intent to assume if the task state was lost: begun at any time since the run was due."""
    since, now = context["dag_run"].run_after, dt.datetime.now(dt.UTC)
    elapsed = max((now - since).total_seconds(), 0.0)
    window = elapsed + hook.settings.submission_window
    return Intent(number=1, begun_at=since.isoformat(), window=window, run_count=0)


def complete_intent(intent: Intent, metadata: Mapping[str, Any]) -> Intent:
    """Return an intent with the run count and fingerprint that the metadata of one of its runs has."""
    _, _, rest = str(metadata[METADATA_KEY]).partition("/")
    count, _, inputs = rest.rpartition(":")[2].partition("/")
    details = {**intent.details, **({INPUTS_KEY: inputs} if inputs else {})}
    return dataclasses.replace(intent, run_count=int(count), details=details)


def check_inputs(details: Mapping[str, Any], inputs: str, work: object) -> None:
    """Check that existing work was submitted for the task's present inputs.

    :param details: of its intent.
    :param inputs: the fingerprint of the present inputs.
    :param work: names the existing work in the error.
    :raises ExtendInputError: it was submitted for other inputs.
    """
    submitted = details.get(INPUTS_KEY)
    if submitted is not None and submitted != inputs:
        raise ExtendInputError(
            f"{work} was submitted by this task for other inputs than it has now. Nothing was sent, and "
            "nothing was cancelled. To send, and pay for, the present inputs, set on_clear='resubmit' and "
            "clear the task; to use what was submitted anyway, set on_changed_inputs='reattach'."
        )


def _refuse_other_workflow(entry: Mapping[str, Any]) -> None:
    """Raise an error if this task has submitted something to another workflow or version."""
    every = [entry, *entry.get(PARTS_KEY, {}).values()]
    if any("intent" in each and not each.get("withdrawn") for each in every):
        ids = ", ".join(str(each["batch_id"]) for each in every if each.get("batch_id"))
        raise ExtendInputError(
            "This task has submitted its inputs to another workflow, or another version of it (batch or "
            f"runs: {ids or 'not known yet'}). Nothing was sent, and nothing was cancelled. To send, and pay "
            "for, them again, set on_clear='resubmit' and clear the task; or undo the change."
        )

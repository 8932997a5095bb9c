"""The ledger of a task instance's submissions, in Airflow's task state store, and their mark at Extend.

A task has one submission, a batch, or several parts one after the other: requests that create single runs.

The store survives a retry. On Airflow 3.3 it survives a clear too, on 3.4 it may not; so each attempt leaves
a trace before it does anything, and where earlier attempts have left none, one of them may have submitted:
the batch is looked for at Extend before anything is sent.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

from extend_provider.batch.attempts import first_try, generation, is_generation_of
from extend_provider.batch.orphans import Mark
from extend_provider.batch.submission import Intent, LedgerState
from extend_provider.client import validation
from extend_provider.exceptions import ExtendInputError

if TYPE_CHECKING:
    from airflow.sdk import Context

    from extend_provider.hooks.extend import ExtendHook

#: What a cleared task does with the batch that was submitted before: take it up, or submit anew.
OnClear = Literal["reattach", "resubmit"]
ON_CLEAR: tuple[str, ...] = get_args(OnClear)

#: What happens if the inputs are no longer those that were submitted: an error, or they are taken up anyway.
OnChangedInputs = Literal["fail", "reattach"]
ON_CHANGED_INPUTS: tuple[str, ...] = get_args(OnChangedInputs)

#: Key in the metadata of every input by which its run is found again: which submission, how many inputs, and
#: their fingerprint: ``identity.since/count/fingerprint``, or ``…/part:count/fingerprint``.
MARK_KEY = "airflow_submission"
#: Key in the task state store.
SUBMISSION_KEY = "extend_submission"
#: Key of the inputs' fingerprint among an intent's details.
INPUTS_KEY = "inputs"
#: Key of the parts' entries in a task's.
PARTS_KEY = "parts"


@dataclasses.dataclass(frozen=True, slots=True)
class TaskStateLedger:
    """See :class:`~extend_provider.batch.submission.Ledger`; Airflow lets one attempt at a time write it.

    :param store: Airflow's task state store of the task instance.
    :param identity: tells the task instance's submissions to a workflow version from all others.
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
        """Return the ledger of the task instance, with this attempt's trace in it.

        :param hook: says how long Extend may accept a request, if one may be under way.
        :param retries: the task's ``retries``.
        """
        ti, store = context["ti"], context["task_state_store"]
        parts = (ti.dag_id, ti.run_id, ti.task_id, str(ti.map_index), workflow_id, version or "")
        identity = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
        current = generation(ti)
        entry: Any = store.get(SUBMISSION_KEY)
        known = entry if entry and entry["identity"] == identity else None
        begun = bool(entry) and is_generation_of(ti, retries, entry["generation"])
        goes_on = known is not None and (on_clear == "reattach" or begun)
        if entry and known is None and (on_clear == "reattach" or begun):
            _refuse_other_workflow(entry)
        since = known["since"] if known is not None and goes_on else current
        first = known["first"] if known is not None and begun else ti.try_number
        ledger = cls(store, identity, since, current, first, on_clear)
        if goes_on:
            store.set(SUBMISSION_KEY, {**entry, **ledger._origin}, retention=_never())
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
        begun = self.store.get(SUBMISSION_KEY).get(PARTS_KEY, {})
        return [self.part(number).read() for number in sorted(map(int, begun))]

    def is_cleared(self, ti: Any) -> bool:
        """Whether this is the first attempt since the task was cleared."""
        return bool(1 < ti.try_number == self.first)

    def renewed(self) -> TaskStateLedger:
        """Return the ledger of another submission, which this generation begins."""
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
        """Write down that the intent's request created nothing."""
        self._write(intent, withdrawn=True)

    def record(self, intent: Intent, batch_id: str) -> None:
        """Write down the batch."""
        self._write(intent, batch_id=batch_id)

    def marked(
        self, metadata: Mapping[str, Any] | None, count: int, inputs: str, field: str = "metadata"
    ) -> dict[str, Any]:
        """Return the metadata of an input with the mark in it.

        :param count: how many inputs are sent together.
        :param inputs: the fingerprint of all the task's inputs.
        :raises ExtendInputError: with the mark the metadata is too large, or the key is taken.
        """
        if metadata is not None and MARK_KEY in metadata:
            raise ExtendInputError(f"{field} has the key {MARK_KEY!r}, which is reserved; use another one.")
        mark = f"{self.identity}.{self.since}/{self._prefix}{count}/{inputs}"
        return validation.metadata({**(metadata or {}), MARK_KEY: mark}, field) or {}

    @property
    def mark(self) -> Mark:
        """What the metadata of our runs has."""
        # Where no trace is left of which submission was the last one, it is the one that is found first.
        intent = self.read().intent
        lost = intent is not None and not intent.run_count and self.on_clear == "reattach"
        return Mark({MARK_KEY: f"{self.identity}.{'*' if lost else self.since}/{self._prefix}*"})

    @property
    def _prefix(self) -> str:
        return "" if self.number is None else f"{self.number}:"

    @property
    def _origin(self) -> dict[str, Any]:
        now = {"generation": self.current, "first": self.first}
        return {"identity": self.identity, "since": self.since, **now}

    def _entry(self) -> dict[str, Any]:
        """Return what is written of the submission, or part; one that nobody knows of is as the whole is."""
        entry: dict[str, Any] = self.store.get(SUBMISSION_KEY)
        part: dict[str, Any] = entry.get(PARTS_KEY, {}).get(str(self.number), entry)
        return part

    def _write(self, intent: Intent | None, **facts: Any) -> None:
        if intent is not None:
            facts["intent"] = {**dataclasses.asdict(intent), "details": dict(intent.details)}
        entry = {**self._origin, **facts}
        if self.number is not None:
            entry = dict(self.store.get(SUBMISSION_KEY))
            entry[PARTS_KEY] = {**entry.get(PARTS_KEY, {}), str(self.number): {"since": self.since, **facts}}
        self.store.set(SUBMISSION_KEY, entry, retention=_never())


def _never() -> Any:
    from airflow.sdk.execution_time.context import NEVER_EXPIRE

    return NEVER_EXPIRE


def lost_intent(context: Context, hook: ExtendHook) -> Intent:
    """Return the intent that attempts without a trace may have had: at any time since the run was due."""
    since, now = context["dag_run"].run_after, dt.datetime.now(dt.UTC)
    elapsed = max((now - since).total_seconds(), 0.0)
    window = elapsed + hook.settings.submission_window
    return Intent(number=1, begun_at=since.isoformat(), window=window, run_count=0)


def recalled(intent: Intent, metadata: Mapping[str, Any]) -> Intent:
    """Return an intent with what the mark in the metadata of one of its runs tells of it."""
    _, _, told = str(metadata[MARK_KEY]).partition("/")
    count, _, inputs = told.rpartition(":")[2].partition("/")
    details = {**intent.details, **({INPUTS_KEY: inputs} if inputs else {})}
    return dataclasses.replace(intent, run_count=int(count), details=details)


def check_inputs(details: Mapping[str, Any], inputs: str, work: object) -> None:
    """See that what is taken up was submitted for the inputs of now.

    :param details: of its intent.
    :param inputs: the fingerprint of now.
    :param work: what is taken up, for a person.
    :raises ExtendInputError: it was not.
    """
    submitted = details.get(INPUTS_KEY)
    if submitted is not None and submitted != inputs:
        raise ExtendInputError(
            f"{work}: this task has submitted it for other inputs than it has now. Nothing was sent, and "
            "nothing was cancelled. To send, and pay for, the inputs of now, set on_clear='resubmit' and "
            "clear the task; to take up what was submitted all the same, set on_changed_inputs='reattach'."
        )


def _refuse_other_workflow(entry: Mapping[str, Any]) -> None:
    """Refuse to begin anew if something was submitted to another workflow or version."""
    every = [entry, *entry.get(PARTS_KEY, {}).values()]
    if any("intent" in each and not each.get("withdrawn") for each in every):
        ids = ", ".join(str(each["batch_id"]) for each in every if each.get("batch_id"))
        raise ExtendInputError(
            "This task has submitted its inputs to another workflow, or another version of it (as "
            f"{ids or 'nobody knows what'}). Nothing was sent, and nothing was cancelled. To send, and pay "
            "for, them again, set on_clear='resubmit' and clear the task; or take the change back."
        )

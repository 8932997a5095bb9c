"""The ledger of a task instance's submission, in Airflow's task state store, and its mark at Extend.

The store survives a retry. On Airflow 3.3 it survives a clear too, on 3.4 it may not; so each attempt leaves
a trace before it does anything, and where earlier attempts have left none, one of them may have submitted:
the batch is looked for at Extend before anything is sent.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

from extend_provider import validation
from extend_provider.attempts import first_try, generation, is_generation_of
from extend_provider.exceptions import ExtendInputError
from extend_provider.models import BatchInput
from extend_provider.recovery import Mark
from extend_provider.submission import Intent, LedgerState

if TYPE_CHECKING:
    from airflow.sdk import Context

    from extend_provider.hooks.extend import ExtendHook

#: What a cleared task does with the batch that was submitted before: take it up, or submit anew.
OnClear = Literal["reattach", "resubmit"]
ON_CLEAR: tuple[str, ...] = get_args(OnClear)

#: Key in every input's metadata by which a batch is found again: what is submitted, and how many inputs.
MARK_KEY = "airflow_submission"
#: Key in the task state store.
SUBMISSION_KEY = "extend_submission"


@dataclasses.dataclass(frozen=True, slots=True)
class TaskStateLedger:
    """See :class:`~extend_provider.submission.Ledger`; Airflow lets one attempt at a time write it.

    :param store: Airflow's task state store of the task instance.
    :param identity: tells the task instance's submissions to a workflow version from all others.
    :param since: the generation of attempts that has begun the submission, see
        :func:`~extend_provider.attempts.generation`.
    :param current: the generation of this attempt.
    :param first: the number of the first attempt of this generation.
    :param on_clear: see :data:`OnClear`.
    """

    store: Any
    identity: str
    since: str
    current: str
    first: int
    on_clear: OnClear

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
        begun = known is not None and is_generation_of(ti, retries, known["generation"])
        goes_on = known is not None and (on_clear == "reattach" or begun)
        since = known["since"] if known is not None and goes_on else current
        first = known["first"] if known is not None and begun else ti.try_number
        ledger = cls(store, identity, since, current, first, on_clear)
        if goes_on:
            store.set(SUBMISSION_KEY, {**entry, **ledger._origin}, retention=_never())
        else:
            lost = known is None and ti.try_number > (first_try(ti, retries) if on_clear == "resubmit" else 1)
            ledger._write(lost_intent(context, hook) if lost else None)
        return ledger

    def renewed(self) -> TaskStateLedger:
        """Return the ledger of another submission, which this generation begins."""
        ledger = dataclasses.replace(self, since=self.current)
        ledger._write(None)
        return ledger

    def read(self) -> LedgerState:
        """Return what this and earlier attempts have written."""
        entry = self.store.get(SUBMISSION_KEY)
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

    def marked(self, inputs: Sequence[BatchInput]) -> list[BatchInput]:
        """Return the inputs with the mark in each one's metadata.

        :raises ExtendInputError: with the mark the metadata is too large, or the key is taken.
        """
        mark = f"{self.identity}.{self.since}/{len(inputs)}"
        return [_marked(each, mark, f"inputs[{index}].metadata") for index, each in enumerate(inputs)]

    @property
    def mark(self) -> Mark:
        """What the metadata of our batch's runs has."""
        # Where no trace is left of which submission was the last one, it is the one that is found first.
        intent = self.read().intent
        lost = intent is not None and not intent.run_count and self.on_clear == "reattach"
        return Mark({MARK_KEY: f"{self.identity}.{'*' if lost else self.since}/*"})

    @property
    def _origin(self) -> dict[str, Any]:
        now = {"generation": self.current, "first": self.first}
        return {"identity": self.identity, "since": self.since, **now}

    def _write(self, intent: Intent | None, **facts: Any) -> None:
        entry: dict[str, Any] = {**self._origin, **facts}
        if intent is not None:
            entry["intent"] = {**dataclasses.asdict(intent), "details": dict(intent.details)}
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


def marked_count(metadata: Mapping[str, Any]) -> int:
    """Return how many inputs a batch has, from the mark of one of them."""
    return int(str(metadata[MARK_KEY]).partition("/")[2])


def _marked(given: BatchInput, mark: str, field: str) -> BatchInput:
    metadata = dict(given.metadata or {})
    if MARK_KEY in metadata:
        raise ExtendInputError(f"{field} has the key {MARK_KEY!r}, which is reserved; use another one.")
    return dataclasses.replace(given, metadata=validation.metadata({**metadata, MARK_KEY: mark}, field))

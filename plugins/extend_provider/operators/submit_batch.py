"""Submits a batch of files to a workflow."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from airflow.sdk import BaseOperator, XComArg
from airflow.sdk.configuration import conf

from extend_provider.batch.ledger import (
    INPUTS_KEY,
    ON_CHANGED_INPUTS,
    ON_CLEAR,
    OnChangedInputs,
    OnClear,
    TaskStateLedger,
    check_inputs,
    complete_intent,
    fingerprint,
)
from extend_provider.batch.orphans import was_cancelled
from extend_provider.batch.ownership import CancelsOnKillMixin
from extend_provider.batch.refusals import RefusedInput
from extend_provider.batch.submission import Prepared, RetryAt, Submission, Submitter
from extend_provider.client import input_validation, validation
from extend_provider.client.endpoints import file_input_name
from extend_provider.client.models import BatchInput
from extend_provider.exceptions import ExtendInputError
from extend_provider.security import Sealed, SealedFieldsMixin, show_inputs
from extend_provider.triggers.submission import defer_until

if TYPE_CHECKING:
    from airflow.sdk import Context

#: XCom key of the number of runs submitted; Extend's answer does not have it.
RUN_COUNT_KEY = "run_count"
#: XCom key of the inputs that the batch was sent without, and their key among an intent's details.
LEFT_OUT_KEY = "left_out"
#: How many characters of Extend's message are kept for each.
_MESSAGE_LENGTH = 200

#: What happens to a batch that Extend refuses for some of its inputs.
OnRefusedInput = Literal["fail", "leave_out"]


class ExtendSubmitBatchOperator(CancelsOnKillMixin, SealedFieldsMixin, BaseOperator):
    """Sends 1 to 1,000 files to a workflow in one request and returns the batch's id.

    It does not wait for the runs: :class:`~extend_provider.sensors.batch.ExtendBatchSensor` does that. The
    number of runs is pushed as XCom ``run_count``. All arguments are checked before the request; an error
    names the input's index.

    A retry never submits again: it returns the batch that an earlier attempt submitted. An attempt that lost
    Extend's answer, or whose predecessor's worker died, searches for the batch among the workflow's runs, and
    submits again only once the batch's absence is proven: at the earliest after the connection's
    ``acceptance_window`` and ``listing_grace``. To be found, each input carries ``airflow_submission`` in its
    metadata. The waits for that proof, during an outage of Extend, and for a rate limit are in the triggerer
    and cost no retry; ``execution_timeout`` bounds them. Clearing the task meanwhile cancels nothing, and the
    next attempt continues from there.

    The inputs' URLs, texts, passwords and secrets are redacted in the rendered template. A subclass that
    overrides :meth:`get_inputs` builds them in the worker, so that they never enter a template field at all.

    :param workflow_id: the workflow, e.g. ``workflow_…``.
    :param inputs: mappings ``{"file": {"url" | "file_id" | "text", "name"?, "password"?}, "metadata"?,
        "secrets"?}`` or :class:`~extend_provider.client.models.BatchInput`. ``metadata`` (up to 10 KB of
        JSON, the 100 bytes of ``airflow_submission`` included) comes back with the input's run.
    :param version: version number or ``draft``; None: the latest deployed one.
    :param priority: 1 to 100, lower first; None: Extend's default, 90 for batches. On API version 2025-04-21
        it is fixed.
    :param on_clear: what clearing the task means: ``reattach`` returns the batch that was submitted before,
        unless all of its runs were cancelled; ``resubmit`` submits, and pays for, a new batch in any case.
    :param on_changed_inputs: if the inputs differ from those of the existing batch: ``fail`` sends nothing
        and leaves the batch alone; ``reattach`` returns it anyway. Compared are files
        (a URL without its query), names, texts and metadata; inputs that :meth:`get_inputs` builds are not
        compared.
    :param on_refused_input: if Extend refuses the whole batch because of an input, e.g. a URL that it cannot
        read: ``fail`` creates nothing, and the error names the input; ``leave_out`` sends the batch without
        it, repeatedly if needed, until no input is left. XCom ``left_out`` then has ``index``, ``file``,
        ``reason`` and ``message`` of each input that was left out, and ``run_count`` is less by as many.
    :param cancel_on_kill: when the task is marked failed or success, or its DAG run is deleted, while it
        submits, or while it is not known whether the batch exists: search for it, and cancel its runs.
    :param deferrable: wait in the triggerer, without a worker slot, before the next request is possible. The
        default is Airflow's, ``[operators] default_deferrable``.
    :param extend_conn_id: connection to Extend.
    :raises ExtendInputError: an argument or an input is refused; nothing was sent.
    :raises ExtendUnclearSubmissionError: ten attempts got no clear answer.
    :raises ExtendError: Extend refused the batch; nothing was created.
    """

    template_fields: Sequence[str] = ("workflow_id", "inputs", "version", "priority", "extend_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"inputs": "json"}
    sealed_fields: ClassVar = {"inputs": show_inputs}

    def __init__(
        self,
        *,
        workflow_id: str | None = None,
        inputs: Sequence[Mapping[str, Any] | BatchInput] | XComArg | None = None,
        version: str | int | None = None,
        priority: int | str | None = None,
        on_clear: OnClear = "reattach",
        on_changed_inputs: OnChangedInputs = "fail",
        on_refused_input: OnRefusedInput = "fail",
        cancel_on_kill: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        extend_conn_id: str = "extend_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.workflow_id = workflow_id
        self.inputs = inputs
        self.version = version
        self.priority = priority
        self.on_clear = on_clear
        self.on_changed_inputs = on_changed_inputs
        self.on_refused_input = on_refused_input
        self.cancel_on_kill = cancel_on_kill
        self.deferrable = deferrable
        self.extend_conn_id = extend_conn_id
        validation.flag(self.deferrable, "deferrable")
        validation.flag(self.cancel_on_kill, "cancel_on_kill")
        validation.check_literal(validation.conn_id, self.extend_conn_id)
        validation.choice(on_clear, "on_clear", ON_CLEAR)
        validation.choice(on_changed_inputs, "on_changed_inputs", ON_CHANGED_INPUTS)
        validation.choice(on_refused_input, "on_refused_input", get_args(OnRefusedInput))
        validation.check_literal(validation.version, version)
        validation.check_literal(validation.priority, priority)
        if type(self).execute is ExtendSubmitBatchOperator.execute:
            validation.check_literal(validation.workflow_id, workflow_id)
            if inputs is None and type(self).get_inputs is ExtendSubmitBatchOperator.get_inputs:
                raise ExtendInputError("inputs are missing; a batch takes 1 to 1,000 of them.")
        input_validation.check_literal_elements(
            inputs, "inputs", input_validation.MAX_BATCH_INPUTS, input_validation.batch_input
        )

    def get_inputs(self, context: Context) -> Sequence[BatchInput]:
        """Return what to submit; override it to build the inputs late, e.g. with fresh presigned URLs.

        An override that returns nothing makes the task succeed without a batch.
        """
        return input_validation.batch_inputs(Sealed.open(self.inputs))

    def execute(self, context: Context) -> str | None:
        """Return the batch's id, submitted now or before; None when an override has nothing to submit."""
        return self._submit(context)

    def execute_complete(self, context: Context, event: Any = None) -> str | None:
        """Continue a submission after a deferral."""
        return self._submit(context, event["turned_away"])

    def _submit(self, context: Context, failed_attempts: int = 0) -> str | None:
        workflow_id = validation.workflow_id(self.workflow_id)
        version = validation.version(self.version)
        priority = validation.priority(self.priority)
        ledger = TaskStateLedger.open(
            context,
            self.hook,
            workflow_id=workflow_id,
            version=version,
            retries=self.retries or 0,
            on_clear=self.on_clear,
        )

        def prepare() -> Prepared:
            inputs = self.get_inputs(context)
            if not inputs:
                self.log.info("Nothing to submit to workflow %s.", workflow_id)
                return Prepared([])
            checked = input_validation.batch_inputs(inputs)
            return self._prepared(ledger, checked, fingerprint(checked), range(len(checked)), ())

        submitter = Submitter(
            hook=self.hook,
            ledger=ledger,
            workflow_id=workflow_id,
            version=version,
            priority=priority,
            key=lambda: ledger.key,
            complete_intent=complete_intent,
            prepare=prepare,
            sender=self,
            ti=context["ti"],
            log=self.log,
        )
        with self.hook:
            submission = self._submission_from(submitter, failed_attempts)
            if self._was_cancelled_before_clear(submission, ledger, context["ti"]):
                self.log.warning(
                    "All runs of batch %s were cancelled; submitting a new batch.", submission.batch_id
                )
                submitter.ledger = ledger = ledger.renewed()
                submission = self._submission_from(submitter)
            elif submission.reattached:
                self._check_inputs(submission)
        # The sensor needs it: Extend never reports how many runs a batch has.
        context["ti"].xcom_push(key=RUN_COUNT_KEY, value=submission.run_count)
        if left_out := submission.details.get(LEFT_OUT_KEY):
            self.log.warning("Batch %s has no run of %s inputs.", submission.batch_id, f"{len(left_out):,}")
            context["ti"].xcom_push(key=LEFT_OUT_KEY, value=left_out)
        return submission.batch_id

    def _prepared(
        self,
        ledger: TaskStateLedger,
        inputs: Sequence[BatchInput],
        digest: str,
        sent: Sequence[int],
        left_out: Sequence[Mapping[str, Any]],
    ) -> Prepared:
        """Return what is sent, with the idempotency key in each input's metadata.

        :param digest: the fingerprint of all inputs.
        :param sent: the indices of those that are sent.
        :param left_out: the others, as XCom ``left_out`` describes them.
        """
        sent_inputs = [
            dataclasses.replace(
                inputs[index],
                metadata=ledger.with_key(
                    inputs[index].metadata, len(sent), digest, f"inputs[{index}].metadata"
                ),
            )
            for index in sent
        ]

        def without(refused: Sequence[RefusedInput]) -> Prepared | None:
            gone = {sent[each.index]: each for each in refused}
            rest = [index for index in sent if index not in gone]
            if self.on_refused_input == "fail" or not rest:
                return None
            more = [_describe_left_out(index, inputs[index], each) for index, each in gone.items()]
            return self._prepared(ledger, inputs, digest, rest, [*left_out, *more])

        details = {INPUTS_KEY: digest, **({LEFT_OUT_KEY: list(left_out)} if left_out else {})}
        return Prepared(sent_inputs, details, without)

    def _submission_from(self, submitter: Submitter, failed_attempts: int = 0) -> Submission:
        result = submitter.submit(failed_attempts, deferrable=self.deferrable)
        if isinstance(result, RetryAt):
            defer_until(self, result, self.execute_complete, submitter.ti, cancel_on_kill=self.cancel_on_kill)
        return result

    def _check_inputs(self, submission: Submission) -> None:
        built_late = type(self).get_inputs is not ExtendSubmitBatchOperator.get_inputs
        if self.on_changed_inputs == "fail" and not built_late:
            inputs = input_validation.batch_inputs(Sealed.open(self.inputs))
            check_inputs(submission.details, fingerprint(inputs), f"Batch {submission.batch_id}")

    def _was_cancelled_before_clear(self, submission: Submission, ledger: TaskStateLedger, ti: Any) -> bool:
        """Return True if the task was cleared and all runs of its batch are cancelled."""
        if not ledger.is_cleared(ti) or not submission.reattached or submission.batch_id is None:
            return False
        return was_cancelled(self.hook, submission.batch_id, submission.run_count)


def _describe_left_out(index: int, given: BatchInput, refused: RefusedInput) -> dict[str, Any]:
    """Return what XCom ``left_out`` has of an input."""
    return {
        "index": index,
        "file": file_input_name(given.file),
        "reason": refused.reason,
        "message": refused.message[:_MESSAGE_LENGTH],
    }

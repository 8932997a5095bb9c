"""Submits a batch of files to a workflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator, XComArg

from extend_provider import validation
from extend_provider.attempts import AttemptMemory, create_once, created_before
from extend_provider.exceptions import ExtendInputError
from extend_provider.models import BatchInput
from extend_provider.redaction import Sealed, SealedFieldsMixin, show_inputs

if TYPE_CHECKING:
    from airflow.sdk import Context

    from extend_provider.hooks.extend import ExtendHook

#: XCom key of the number of runs submitted; Extend's answer does not tell it.
RUN_COUNT_KEY = "run_count"
#: Key in the task state store of the batch that an earlier attempt has created.
BATCH_KEY = "extend_batch"


class ExtendSubmitBatchOperator(SealedFieldsMixin, BaseOperator):
    """Sends 1 to 1,000 files to a workflow in one request and returns the batch's id.

    Nothing is waited for: :class:`~extend_provider.sensors.batch.ExtendBatchSensor` does that. The number of
    runs is pushed as XCom ``run_count``. Everything that can be wrong with the arguments is refused before
    the request, with the input's index.

    A retry never submits again: it returns the batch that an earlier attempt has created, and fails if it is
    unknown whether there is one. Clearing the task is the way to submit again.

    The inputs' URLs, texts, passwords and secrets are redacted in the rendered template. A subclass that
    overrides :meth:`get_inputs` builds them in the worker, so that they never enter a template field at all;
    one that overrides ``execute`` uses :meth:`submit` and needs neither ``workflow_id`` nor ``inputs`` here.

    :param workflow_id: the workflow, e.g. ``workflow_…``.
    :param inputs: mappings ``{"file": {"url" | "file_id" | "text", "name"?, "password"?}, "metadata"?,
        "secrets"?}`` or :class:`~extend_provider.models.BatchInput`. ``metadata`` (up to 10 KB of JSON) comes
        back with the input's run.
    :param version: version number or ``draft``; None: the latest deployed one.
    :param priority: 1 to 100, lower first; None: Extend's default, 90 for batches. On API version 2025-04-21
        it is fixed.
    :param extend_conn_id: connection to Extend.
    :raises ExtendInputError: an argument or an input is refused; nothing was sent.
    :raises ExtendError: Extend refused the batch, or gave no answer.
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
        extend_conn_id: str = "extend_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.workflow_id = workflow_id
        self.inputs = inputs
        self.version = version
        self.priority = priority
        self.extend_conn_id = extend_conn_id
        validation.check_literal(validation.version, version)
        validation.check_literal(validation.priority, priority)
        if type(self).execute is ExtendSubmitBatchOperator.execute:
            validation.check_literal(validation.workflow_id, workflow_id)
            if inputs is None and type(self).get_inputs is ExtendSubmitBatchOperator.get_inputs:
                raise ExtendInputError("inputs are missing; a batch takes 1 to 1,000 of them.")
        validation.check_literal_elements(
            inputs, "inputs", validation.MAX_BATCH_INPUTS, validation.batch_input
        )

    def get_inputs(self, context: Context) -> Sequence[BatchInput]:
        """Return what to submit; override it to build the inputs late, e.g. with fresh presigned URLs.

        An override that returns nothing makes the task succeed without a batch.
        """
        return validation.batch_inputs(Sealed.open(self.inputs))

    @cached_property
    def hook(self) -> ExtendHook:
        """The hook; its session is closed when the task ends."""
        from extend_provider.hooks.extend import ExtendHook

        return ExtendHook(extend_conn_id=self.extend_conn_id)

    def execute(self, context: Context) -> str | None:
        """Submit the batch and return its id; None when an override has nothing to submit."""
        workflow_id = validation.workflow_id(self.workflow_id)
        version = validation.version(self.version)
        priority = validation.priority(self.priority)
        memory = AttemptMemory(context, retries=self.retries or 0, key=BATCH_KEY)
        batch = created_before(memory, f"a batch of workflow {workflow_id}")
        if batch is None:
            inputs = self.get_inputs(context)
            if not inputs:
                self.log.info("Nothing to submit to workflow %s.", workflow_id)
                context["ti"].xcom_push(key=RUN_COUNT_KEY, value=0)
                return None
            inputs = validation.batch_inputs(inputs)
            self.log.info(
                "%s inputs go to workflow %s (API %s).", len(inputs), workflow_id, self.hook.api_version
            )
            with self.hook:
                batch = create_once(
                    memory,
                    lambda: {
                        "batch_id": self.submit(workflow_id, inputs, version=version, priority=priority),
                        RUN_COUNT_KEY: len(inputs),
                    },
                )
        # Whoever waits needs it: neither the answer nor any status of the batch tells how many runs it has.
        context["ti"].xcom_push(key=RUN_COUNT_KEY, value=batch[RUN_COUNT_KEY])
        batch_id: str = batch["batch_id"]
        return batch_id

    def submit(
        self,
        workflow_id: str,
        inputs: Sequence[BatchInput],
        *,
        version: str | int | None = None,
        priority: int | str | None = None,
    ) -> str:
        """Check everything, send one request, return the batch's id.

        :raises ExtendInputError: something is refused; nothing was sent.
        :raises ExtendUnclearSubmissionError: whether the batch exists is unknown.
        """
        workflow_id = validation.workflow_id(workflow_id)
        checked = validation.batch_inputs(inputs)
        batch_id = self.hook.create_batch(
            workflow_id,
            checked,
            version=validation.version(version),
            priority=validation.priority(priority),
        )
        self.log.info("Batch %s: %s inputs sent to workflow %s.", batch_id, f"{len(checked):,}", workflow_id)
        return batch_id

"""Wait: until every document of a chunk has come to its end, failures that may pass tried again."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from extend_pipeline.attempts import Verdict, next_round
from extend_pipeline.reservations import ChunkReference
from extend_pipeline.rounds import URLS_END_KEY, Round
from extend_provider import validation
from extend_provider.batch_progress import BatchProgress, Outcome
from extend_provider.followers import Follower, follow, others, unfollow
from extend_provider.kill import left_alone
from extend_provider.sensors.batch import ExtendBatchSensor
from extend_provider.submission import Later, Submission
from extend_provider.triggers.later import defer_until
from extend_provider.waiting import Ended, WaitPolicy

if TYPE_CHECKING:
    from airflow.sdk import Context

#: How long a batch may list fewer runs than were submitted, all others settled and nothing changing, before
#: the missing ones count as gone. Generous, because what is missing is sent again, and paid for again.
MISSING_AFTER: Final = dt.timedelta(hours=1)


class WaitChunkOperator(ExtendBatchSensor):
    """Waits for a chunk's batch, sends what failed for a passing reason again, alone, and waits for that.

    Always deferred. What it has come to is in the workspace, see :mod:`extend_pipeline.rounds`: a retry, a
    cleared task and another run with the same chunk go on from there. ``timeout`` covers all rounds.

    :param chunk: the chunk's reference, see :class:`~extend_pipeline.reservations.ChunkReference`.
    :param missing_after: see :data:`MISSING_AFTER`; never more than half of ``timeout``.
    """

    template_fields: Sequence[str] = (*ExtendBatchSensor.template_fields, "chunk")

    def __init__(
        self, *, chunk: ChunkReference, missing_after: dt.timedelta = MISSING_AFTER, **kwargs: Any
    ) -> None:
        super().__init__(deferrable=True, **kwargs)
        self.chunk = chunk
        self.missing_after = missing_after

    @property
    def _name(self) -> str:
        return f"Batch {self.batch_id}"

    def execute(self, context: Context) -> dict[str, Any]:
        """Wait for the round that the chunk is in."""
        if not validation.run_count(self.run_count):
            return super().execute(context)
        self.dashboard_url = ""
        missing_after = validation.positive_seconds(self.missing_after, "missing_after")
        missing_after = min(missing_after, self.timeout / 2)
        policy = dataclasses.replace(self._policy(context), missing_after=missing_after)
        # From the first round on, because Extend may have lost runs of each since they were looked at.
        current = Round.first(self.chunk)
        self._share(current, context)
        follow(current.followers, Follower.of(context["ti"]))
        return self._wait_for(context, current, policy)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after the deferral, knowing who else waits for the chunk."""
        self._share(Round.first(self.chunk), context)
        return super().resume_execution(next_method, next_kwargs, context)

    def _share(self, current: Round, context: Context) -> None:
        self.followers, self._follower = current.followers, Follower.of(context["ti"])

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Decide what becomes of the round that has settled."""
        ended = Ended.from_event(event)
        if ended.batch_id is not None:
            self.batch_id = ended.batch_id
        if ended.progress is not None:
            self.run_count = ended.progress["expected"]
        counts = super().execute_complete(context, event)
        current = Round.of_batch(self.chunk, ended.batch_id)
        sent = current.sent()
        policy = WaitPolicy(**ended.policy) if ended.policy else self._policy(context)
        if sent is None or sent.batch_id != ended.batch_id:
            return self._wait_for(context, current, policy)
        given_up = ended.outcome is Outcome.SHORT
        if current.verdict() is None:
            verdict = self._verdict(current, sent, given_up=given_up)
            if verdict is None:
                return self._wait_for(context, current, policy)
            current.judge(verdict)
        elif given_up and ended.progress is not None:
            current.note_missing(sent.run_count - ended.progress["listed"])
        following = current.following()
        if following is not None:
            return self._wait_for(context, following, policy)
        unfollow(current.followers, Follower.of(context["ti"]))
        return counts

    def go_on_sending(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Go on with the submission of a round that had to wait."""
        policy = WaitPolicy(**event["policy"])
        return self._wait_for(context, Round.latest(self.chunk), policy, event["turned_away"])

    def _wait_for(
        self, context: Context, current: Round, policy: WaitPolicy, turned_away: int = 0
    ) -> dict[str, Any]:
        sent = current.sent(required=current.number == 1) or self._submit(context, current, turned_away)
        if isinstance(sent, Later):
            defer_until(
                self,
                sent,
                self.go_on_sending,
                context["ti"],
                cancel_on_kill=self.cancel_on_kill,
                policy=dataclasses.asdict(policy),
            )
        expected = current.expected(sent)
        if sent.batch_id is not None and expected:
            self.batch_id, self.run_count = sent.batch_id, expected
            self._defer(context, policy, expected)
        following = current.following()
        if following is not None:
            return self._wait_for(context, following, policy)
        unfollow(current.followers, Follower.of(context["ti"]))
        self.log.info("Round %s: there is nothing to wait for.", current.number)
        return BatchProgress(0, {}).as_dict()

    def _submit(self, context: Context, current: Round, turned_away: int) -> Submission | Later:
        from extend_provider.hooks.extend import ExtendHook

        self.log.info(
            "Round %s of at most %s: %s documents are sent once more.",
            current.number,
            current.settings.max_attempts,
            f"{len(current.documents):,}",
        )
        with ExtendHook(extend_conn_id=self.extend_conn_id) as hook:
            return current.advance(hook, self, context, turned_away)

    def _verdict(self, current: Round, sent: Submission, *, given_up: bool) -> Verdict | None:
        """Look at the runs that did not end well; None if the round is not over after all.

        :param given_up: runs that are not listed count as gone.
        """
        from extend_pipeline.collection import inspect
        from extend_provider.hooks.extend import ExtendAsyncHook

        found = inspect(
            ExtendAsyncHook(extend_conn_id=self.extend_conn_id), str(sent.batch_id), sent.run_count
        )
        if found.unsettled or (found.listed < sent.run_count and not given_up):
            self.log.info("%s is not settled after all; waiting goes on.", self._name)
            return None
        missing = max(sent.run_count - found.listed + found.gone, 0)
        urls_end = sent.details.get(URLS_END_KEY)
        urls_ended = dt.datetime.fromisoformat(urls_end) if urls_end else None
        if late := sum(end.came_too_late(urls_ended) for end in found.ends):
            self.log.warning(
                "%s: Extend began with %s of the documents after their presigned URLs had ended (expires_in="
                "%s s). Raise expires_in, or set transfer='upload'.",
                self._name,
                f"{late:,}",
                f"{current.settings.expires_in:,}",
            )
        again = next_round(
            [document.id for document in current.sent_documents()],
            found.ends,
            known_whole=found.whole,
            number=current.number,
            max_attempts=current.settings.max_attempts,
            urls_end=urls_ended,
        )
        self.log.info(
            "%s, round %s: %s of %s runs failed or were cancelled, %s are gone; %s documents are worth "
            "another attempt (max_attempts=%s).",
            self._name,
            current.number,
            f"{found.failed:,}",
            f"{sent.run_count:,}",
            f"{missing:,}",
            f"{len(again):,}",
            current.settings.max_attempts,
        )
        return Verdict(again, missing)

    def _fate(self) -> str:
        """Leave a batch that others wait for as it is, though its time is up here."""
        rest = (
            others(self.followers, self._follower) if self.on_timeout == "cancel" and self.followers else []
        )
        if not rest:
            return super()._fate()
        return f"on_timeout='cancel', but others wait for it, e.g. {rest[0]}. {left_alone(self._work)}"

    def _conclude(self, ended: Ended) -> dict[str, Any]:
        if ended.outcome is Outcome.SHORT and ended.progress is not None:
            self.log.warning("%s: %s The missing runs count as gone.", self._name, ended.message)
            return ended.progress
        return super()._conclude(ended)

    def _judge_failures(self, counts: dict[str, Any], *, gone: bool) -> None:
        """Leave it to the run: how many failures are too many is said once all rounds are through."""

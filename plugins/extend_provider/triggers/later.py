"""The class path that 0.1.0 stored of a deferred submission: such a task resumes after an upgrade."""

from __future__ import annotations

from extend_provider.triggers.submission import ExtendSubmissionTrigger as ExtendLaterTrigger

__all__ = ["ExtendLaterTrigger"]

"""Selects the outcome rule of a run: pure, and always the same for the same input."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable

import msgspec

from sandbox.extend_api.settings import OutcomeRule
from sandbox.extend_api.state.model import Run, share


def outcome_for(run: Run, rules: Iterable[OutcomeRule]) -> OutcomeRule | None:
    """Return the first rule that applies to ``run``; None if the run is processed as usual."""
    return next((rule for rule in rules if _applies(rule, run)), None)


def _applies(rule: OutcomeRule, run: Run) -> bool:
    if rule.first_attempts is not None and run.attempt > rule.first_attempts:
        return False
    if rule.name_glob is not None and not any(
        fnmatch.fnmatchcase(file.name, rule.name_glob) for file in run.files
    ):
        return False
    if rule.metadata is not None:
        metadata = msgspec.json.decode(run.metadata)
        if any(key not in metadata or metadata[key] != value for key, value in rule.metadata.items()):
            return False
    return rule.fraction >= 1.0 or share(run.key) < rule.fraction

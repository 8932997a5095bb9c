"""A step's fields beside its processor's result, the same in both API versions."""

from __future__ import annotations

from typing import Any

from extend_provider.client.models import Check, ResultKind, StoredFile
from extend_provider.client.wire.base import stored_file, stored_files
from extend_provider.client.wire.reading import Json, flag, mapping, mappings, optional_mapping, text


def step_fields(
    raw: Json, rest: Json, run: Json | None = None, kind: ResultKind | None = None
) -> dict[str, Any]:
    """Read a step's output, its files and whether a validation passed.

    :param rest: the step's answer, without its processor's run.
    :param run: its processor's run, of this kind; the output of an extraction or a parse is read elsewhere.
    """
    output = {} if run is None or kind in ("extract", "parse") else mapping(run, "output")
    return {
        "output": {**output, **rest} or None,
        "files": stored_files(raw) or (() if run is None else _files_of(run)),
        **(_decided(rest) if rest else {}),
    }


def _decided(rest: Json) -> dict[str, Any]:
    """Read the fields of a validation and of a router."""
    checks = tuple(map(_check, [*mappings(rest, "rules"), *mappings(rest, "blocks")]))
    return {"passed": _passed(rest, checks), "checks": checks, "branch": _branch(rest)}


def _files_of(run: Json) -> tuple[StoredFile, ...]:
    file = mapping(run, "file")
    return stored_files(run) or ((stored_file(file),) if text(file, "id") else ())


def _passed(rest: Json, checks: tuple[Check, ...]) -> bool | None:
    """Return whether a validation passed; 2025-04-21 answers only for each rule."""
    told = rest.get("allPassed", rest.get("valid"))
    if told is None and checks and all(check.passed is not None for check in checks):
        return all(check.passed for check in checks)
    return told if isinstance(told, bool) else None


def _check(raw: Json) -> Check:
    return Check(
        name=text(raw, "name") or text(raw, "id"),
        passed=flag(raw, "valid") if isinstance(raw.get("valid"), bool) else None,
        reason=text(raw, "failureReason"),
        message=text(raw, "error") or text(raw, "reasoning"),
    )


def _branch(result: Json) -> str | None:
    matched = optional_mapping(result, "matchedBranch")
    if matched is None:
        matched = next((branch for branch in mappings(result, "branches") if flag(branch, "matched")), {})
    return text(matched, "name") or text(matched, "id")

"""What the objects of a DAG author have in common: each checks its fields when it is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, Union

from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.settings import Shape, check_literals, check_shape

if TYPE_CHECKING:
    from airflow.sdk import XComArg

T = TypeVar("T")
#: A value, a Jinja template that gives it, or the output of another task.
Templated = Union[T, str, "XComArg"]


@dataclasses.dataclass(frozen=True)
class Checked:
    """Checks its fields when it is made."""

    #: Fields whose setting has another name, see :class:`~extend_pipeline.settings.Settings`.
    _settings: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        owner, fields = type(self).__name__, self._fields_by_setting()
        check_shape(self._values(), lambda name: f"{owner}.{name}")
        check_literals(
            {setting: getattr(self, name) for setting, name in fields.items()},
            label=lambda setting: f"{owner}.{fields[setting]}",
            partial=True,
        )

    def to_settings(self) -> dict[str, Any]:
        """Return what the first task renders."""
        return {setting: getattr(self, name) for setting, name in self._fields_by_setting().items()}

    @classmethod
    def labels(cls) -> dict[str, str]:
        """Return, by setting, how an error names the field."""
        names = [field.name for field in dataclasses.fields(cls) if _is_setting(field)]
        return {cls._settings.get(name, name): f"{cls.__name__}.{name}" for name in names}

    def _values(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def _fields_by_setting(self) -> dict[str, str]:
        """Return the field of each setting; of two fields for one setting, the one that is given."""
        found: dict[str, str] = {}
        for field in dataclasses.fields(self):
            setting = self._settings.get(field.name, field.name)
            if _is_setting(field) and (setting not in found or getattr(self, field.name) is not None):
                found[setting] = field.name
        return found


def _is_setting(field: dataclasses.Field[Any]) -> bool:
    return field.name not in Shape.model_fields and field.name != "warehouse"


def check_type(name: str, value: Any, kind: type) -> None:
    """Check that an argument is one of the objects.

    :raises PipelineInputError: naming the argument.
    """
    if not isinstance(value, kind):
        # The value is not shown: a text in place of a deployment may be an address with a password.
        raise PipelineInputError(f"{name}: must be a {kind.__name__}(…), is of type {type(value).__name__}")

"""What every schema of the contract has in common."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

FORMAT_VERSION = 1
"""Version of every record and manifest written by this code, but for those that say another one of their own."""


class UnknownFormatVersionError(ValueError):
    """A record was written by a newer Flawsmith: refused, never guessed."""


def check_format_version(version: int, *, newest: int = FORMAT_VERSION) -> int:
    """Return ``version`` if this code can read it.

    Args:
        newest: version of what is read, where that is not `FORMAT_VERSION`.

    Raises:
        UnknownFormatVersionError: ``version`` is newer than ``newest`` or below 1.
    """
    if not 1 <= version <= newest:
        raise UnknownFormatVersionError(
            f"format_version {version} is unknown here (this Flawsmith reads 1 to {newest}); "
            "upgrade Flawsmith to read it"
        )
    return version


FormatVersion = Annotated[int, AfterValidator(check_format_version)]


class Schema(BaseModel):
    """Strict base of all schemas: unknown fields are refused, NaN and infinity too."""

    model_config = ConfigDict(
        extra="forbid", allow_inf_nan=False, ser_json_inf_nan="constants", use_attribute_docstrings=True
    )


class SparseSchema(Schema):
    """Leaves the fields named in ``sparse`` out of what is written while they are None.

    So records, and digests of them, stay as they were before there were such fields.
    """

    sparse: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_nothing(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        return {name: value for name, value in fields.items() if value is not None or name not in self.sparse}


class Answer(BaseModel):
    """Base of what the service answers: a client of this version ignores fields of a later one."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, use_attribute_docstrings=True)


def now() -> datetime:
    """The present in UTC, whole milliseconds (RFC 3339 on the wire)."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)

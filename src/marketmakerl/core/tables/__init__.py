"""The dated tables shipped with the package, and the JSON files of a user that win over them.

`instruments.csv` and `fees.csv` state what venues ask for: each row is valid from its `as_of` date until the next row
of the same name, and `source` says how it is known: "recorded data" (finest step seen), a dated "fixture" (a recorded
reply of the venue), "venue docs", a "published schedule". Where a venue states less than we store, the row is the
stricter reading. A JSON file is a list of objects with the fields of the table it overrides.
"""

from __future__ import annotations

import csv
import difflib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from importlib import resources
from typing import TYPE_CHECKING

from marketmakerl.core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Record:
    """One row and the place it came from, so that an error names file, row and field.

    An empty or absent field takes the default; without one it is an error.
    """

    where: str
    fields: Mapping[str, object]

    def _value(self, name: str) -> object:
        value = self.fields.get(name)
        return None if value == "" else value

    def _refuse(self, name: str, wanted: str) -> ConfigError:
        given = repr(self.fields[name]) if name in self.fields else "nothing"
        return ConfigError(f"{self.where}: field {name!r} must be {wanted}, got {given}")

    def text(self, name: str, default: str | None = None) -> str:
        """Return a text field, stripped; raise `ConfigError` if it is not text."""
        value = self._value(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or not value.strip():
            raise self._refuse(name, "a non-empty text")
        return value.strip()

    def number(self, name: str, default: float | None = None) -> float:
        """Return a finite number, given as one or as its text; raise `ConfigError` otherwise."""
        value = self._value(name)
        if value is None and default is not None:
            return default
        if isinstance(value, (int, float, str)) and not isinstance(value, bool):
            try:
                number = float(value)
            except (ValueError, OverflowError):
                number = math.nan
            if math.isfinite(number):
                return number
        raise self._refuse(name, "a finite number")

    def count(self, name: str) -> int:
        """Return an integer >= 0; raise `ConfigError` otherwise."""
        number = self.number(name)
        if number < 0 or number != int(number):
            raise self._refuse(name, "an integer >= 0")
        return int(number)

    def day(self, name: str, default: str) -> str:
        """Return an ISO date, e.g. "2024-08-08"; raise `ConfigError` if it is not one."""
        value = self._value(name)
        if value is None:
            return default
        try:
            return iso_day(str(value))
        except ValueError:
            raise self._refuse(name, 'an ISO date such as "2024-08-08"') from None

    def only(self, known: tuple[str, ...]) -> None:
        """Raise `ConfigError` for a field that is not in `known`: a typing error must not pass as a default."""
        for name in self.fields:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                guess = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
                raise ConfigError(f"{self.where}: unknown field {name!r}; {guess}")


def iso_day(text: str) -> str:
    """Return the date of an ISO date or timestamp as YYYY-MM-DD, which sorts as text; raise `ValueError` otherwise."""
    return date.fromisoformat(text[:10]).isoformat()


def shipped(table: str) -> list[Record]:
    """Return the rows of a table of this package, e.g. "fees"."""
    text = resources.files(__name__).joinpath(f"{table}.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return [Record(f"{table}.csv, line {line}", row) for line, row in enumerate(rows, start=2)]


def overriding(path: Path, known: tuple[str, ...]) -> list[Record]:
    """Read a user's JSON list of objects.

    Args:
        path: the file.
        known: the fields a row may have.

    Raises:
        ConfigError: it cannot be read, is not a JSON list of objects, or a row has a field nobody knows.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON ({error})") from error
    if not isinstance(document, list):
        raise ConfigError(f"{path}: must hold a JSON list of objects, got {type(document).__name__}")
    records = []
    for index, row in enumerate(document, start=1):
        if not isinstance(row, Mapping):
            raise ConfigError(f"{path}, row {index}: must be an object, got {type(row).__name__}")
        record = Record(f"{path}, row {index}", row)
        record.only(known)
        records.append(record)
    return records

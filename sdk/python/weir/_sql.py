# SPDX-License-Identifier: Apache-2.0
"""Databases, by weir:sql."""

from __future__ import annotations

import datetime
import decimal
import json
from collections.abc import Iterable
from typing import Any

from . import _host
from ._errors import ServiceError
from ._event import encode_json

_INTEGERS = range(-(2**63), 2**63)


class SqlError(ServiceError):
    """What a database could not do. Kinds: "not-found", "denied", "invalid", "unsupported",
    "unavailable", "limit", "bad-value" (a column that is to be JSON is none), "other"."""


def _value_of(parameter: object) -> Any:
    """The WIT's value of a parameter."""
    sql = _host.sql
    if parameter is None:
        return sql.Value_Null()
    if isinstance(parameter, bool):
        return sql.Value_Boolean(parameter)
    if isinstance(parameter, int):
        if parameter not in _INTEGERS:
            raise OverflowError(f"{parameter} is no integer of 64 bits; a Decimal has all its digits")
        return sql.Value_Integer(parameter)
    if isinstance(parameter, float):
        return sql.Value_Real(parameter)
    if isinstance(parameter, str):
        return sql.Value_Text(parameter)
    if isinstance(parameter, (bytes, bytearray, memoryview)):
        return sql.Value_Binary(bytes(parameter))
    if isinstance(parameter, decimal.Decimal):
        return sql.Value_Decimal(str(parameter))
    if isinstance(parameter, (datetime.date, datetime.time)):
        return sql.Value_Text(parameter.isoformat())
    if isinstance(parameter, (dict, list, tuple)):
        return sql.Value_Json(encode_json(parameter))
    raise TypeError(f"a {type(parameter).__name__} is no value of SQL")


def _from_value(value: Any) -> Any:
    sql = _host.sql
    if isinstance(value, sql.Value_Null):
        return None
    if isinstance(value, sql.Value_Json):
        return json.loads(value.value)
    if isinstance(value, sql.Value_Decimal):
        return decimal.Decimal(value.value)
    return value.value


def _rows_of(rows: Any) -> list[dict[str, Any]]:
    width = len(rows.columns)
    return [
        dict(zip(rows.columns, map(_from_value, rows.values[at : at + width])))
        for at in range(0, len(rows.values), width or 1)
    ]


class Database:
    """A resource that takes SQL. Each call may raise an SqlError.

    Parameters are handed over beside the text: ?1 of SQLite, $1 of PostgreSQL. One is None, a bool, an
    int, a float, a str, bytes, a decimal.Decimal, a date or time (its ISO text), or a dict or list,
    which is JSON.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def _call(self, verb: str, statement: str, parameters: Iterable[object]) -> Any:
        values = [_value_of(parameter) for parameter in parameters]
        try:
            return getattr(_host.sql, verb)(self.name, statement, values)
        except _host.HostErr as error:
            kind, text = _host.failure_of(error)
            raise SqlError(kind, f"{verb} {self.name}: {text}") from None

    def query(self, statement: str, parameters: Iterable[object] = ()) -> list[dict[str, Any]]:
        """Runs a statement that reads, and returns its rows: dicts with the columns' names. Decimals
        are decimal.Decimal, and JSON is parsed."""
        rows = self._call("query", statement, parameters)
        try:
            return _rows_of(rows)
        except (ValueError, decimal.InvalidOperation) as error:
            raise SqlError("bad-value", f"query {self.name}: {error}") from None

    def execute(self, statement: str, parameters: Iterable[object] = ()) -> int:
        """Runs a statement that changes, which is a transaction of its own, and returns how many rows it
        has inserted, updated or deleted. What it did stays, also where the handler fails then."""
        return int(self._call("execute", statement, parameters))


def database(name: str) -> Database:
    """A database by its name, for which the guest has a grant of `query` or `execute`. Nobody is asked
    yet whether there is one."""
    return Database(name)

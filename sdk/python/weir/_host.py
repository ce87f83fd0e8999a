# SPDX-License-Identifier: Apache-2.0
"""The bindings of what weir gives, under the names that build.py gives them. What the guest's world
does not import is not there, and nothing is where there is no host, as in a unit test.

They are looked for when the guest is built: a component finds no modules when it runs.
"""

from __future__ import annotations

import importlib
from typing import Any, NoReturn


class _Missing:
    """Stands for a module of bindings that is not there; says so when it is used."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> NoReturn:
        raise RuntimeError(
            f"the interface {self._name} is not there: this is no guest, or it was not built by build.py"
        )


def _load(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        return _Missing(module.rpartition(".")[2])


_IMPORTS = "wit_world.imports."

types = _load(_IMPORTS + "weir_types")
resources = _load(_IMPORTS + "weir_resources")
events = _load(_IMPORTS + "weir_events")
store = _load(_IMPORTS + "keyvalue_store")
atomics = _load(_IMPORTS + "keyvalue_atomics")
batch = _load(_IMPORTS + "keyvalue_batch")
config = _load(_IMPORTS + "config_store")
logging = _load(_IMPORTS + "logging")
messaging = _load(_IMPORTS + "messaging_types")
producer = _load(_IMPORTS + "messaging_producer")
http = _load(_IMPORTS + "http_client")
sql = _load(_IMPORTS + "weir_sql")

_componentize = _load("componentize_py_types")
#: The exception by which bindings return a WIT's err, in both directions.
Err: Any = getattr(_componentize, "Err") if not isinstance(_componentize, _Missing) else None


class NoErr(Exception):
    """Raised by nobody: what is caught in place of Err where there is no host."""


HostErr: type[BaseException] = Err if Err is not None else NoErr


def failure_of(error: BaseException) -> tuple[str, str | None]:
    """The case of a WIT's variant that the host returned as an error, "not-found", and its text."""
    value = getattr(error, "value", error)
    case = type(value).__name__.rpartition("_")[2]
    kind = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in case)
    return kind.lstrip("-"), getattr(value, "value", None)

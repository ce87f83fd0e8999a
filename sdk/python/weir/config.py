# SPDX-License-Identifier: Apache-2.0
"""What the configuration says under the guest's `config`, by wasi:config."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from . import _host
from ._errors import ServiceError


@contextmanager
def _trying() -> Iterator[None]:
    try:
        yield
    except _host.HostErr as error:
        kind, text = _host.failure_of(error)
        raise ServiceError(kind, f"the guest's configuration: {text}") from None


def get(name: str, default: str | None = None) -> str | None:
    """The value of that name, or `default`."""
    with _trying():
        value: str | None = _host.config.get(name)
    return default if value is None else value


def all() -> dict[str, str]:
    """All names and values."""
    with _trying():
        return dict(_host.config.get_all())

# SPDX-License-Identifier: Apache-2.0
"""What a main does. In a handler these are "unsupported"."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from . import _host
from ._errors import ServiceError

#: One key of one resource, watched.
Observable = Any


class ResourceError(ServiceError):
    """Kinds: "not-found", "denied", "invalid", "unsupported", "unavailable", "limit", "other"."""


@contextmanager
def _trying() -> Iterator[None]:
    try:
        yield
    except _host.HostErr as error:
        kind, text = _host.failure_of(error)
        raise ResourceError(kind, f"{kind}: {text}") from None


def open(name: str) -> str:
    """Opens a resource that the configuration names, and returns its descriptor."""
    with _trying():
        return str(_host.resources.open(name))


def watch(rd: str, key: str) -> Observable:
    """Observes a key from now on, or with a `*` at its end all keys with that prefix."""
    with _trying():
        return _host.resources.watch(rd, key)


class Events:
    """A set of subscriptions. `listen` and `listen_to` return it, so that calls chain."""

    def __init__(self) -> None:
        with _trying():
            self._events = _host.events.Events.get()

    @classmethod
    def get(cls) -> Events:
        """A new, empty set."""
        return cls()

    def listen(self, ob: Observable) -> Events:
        """Delivers to the guest's default handler."""
        with _trying():
            self._events.listen(ob)
        return self

    def listen_to(self, ob: Observable, handler: str) -> Events:
        """Delivers to a handler of the guest's own, such as "on-order"."""
        with _trying():
            self._events.listen_to(ob, handler)
        return self

    def exec(self, seconds: int = 0) -> None:
        """Lets events come for so many seconds; 0 is until weir stops."""
        with _trying():
            self._events.exec(seconds)

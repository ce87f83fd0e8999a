# SPDX-License-Identifier: Apache-2.0
"""Key-value buckets, by wasi:keyvalue."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from . import _host
from ._errors import ServiceError
from ._event import decode_json, decode_text, encode_json

#: How often Store.update begins anew where others change the key meanwhile.
UPDATE_TRIES_MAX = 100

_REASONS = {
    "no-such-store": "the configuration has no such resource",
    "access-denied": "the guest has no grant for it",
}


class StoreError(ServiceError):
    """What a bucket could not do. Kinds: "no-such-store", "access-denied", "bad-value" (no UTF-8, or
    no JSON), "contended" (update was overtaken), "other"."""


def _store_error(what: str, error: BaseException) -> StoreError:
    kind, text = _host.failure_of(error)
    return StoreError(kind, f"{what}: {_REASONS.get(kind, text)}")


@contextmanager
def _trying(what: str) -> Iterator[None]:
    """What the host answers with an err becomes a StoreError with what was tried."""
    try:
        yield
    except _host.HostErr as error:
        raise _store_error(what, error) from None


def _bytes_of(value: str | bytes | bytearray | memoryview) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


class Store:
    """A bucket: a resource of the configuration that the guest has a grant for. Each call may raise a
    StoreError."""

    def __init__(self, name: str) -> None:
        self.name = name
        with _trying(f"open {name}"):
            self._bucket = _host.store.open(name)

    def get(self, key: str) -> bytes | None:
        """The key's value; None where there is no such key."""
        with _trying(f"get {self.name}/{key}"):
            value: bytes | None = self._bucket.get(key)
            return value

    def get_text(self, key: str) -> str | None:
        """The same as text. "bad-value" where it is no UTF-8."""
        value = self.get(key)
        return None if value is None else decode_text(value, self._bad_value(key))

    def get_json(self, key: str) -> Any:
        """The same, read as JSON; None where there is no such key. "bad-value" where it is none."""
        value = self.get(key)
        return None if value is None else decode_json(value, self._bad_value(key))

    def _bad_value(self, key: str) -> Callable[[str], StoreError]:
        return lambda what: StoreError("bad-value", f"get {self.name}/{key}: the value {what}")

    def set(self, key: str, value: str | bytes | bytearray | memoryview) -> None:
        """All of the value, text as UTF-8, or nothing of it. When it has returned, the value is there
        after a power failure."""
        with _trying(f"set {self.name}/{key}"):
            self._bucket.set(key, _bytes_of(value))

    def set_json(self, key: str, value: object) -> None:
        self.set(key, encode_json(value))

    def delete(self, key: str) -> None:
        """Also does nothing wrong where there is no such key."""
        with _trying(f"delete {self.name}/{key}"):
            self._bucket.delete(key)

    def exists(self, key: str) -> bool:
        with _trying(f"look for {self.name}/{key}"):
            return bool(self._bucket.exists(key))

    def keys(self) -> Iterator[str]:
        """The keys that the guest may list, in the order of their bytes, asked for page by page."""
        cursor = None
        while True:
            with _trying(f"list {self.name}"):
                page = self._bucket.list_keys(cursor)
            yield from page.keys
            cursor = page.cursor
            if cursor is None:
                return

    def increment(self, key: str, delta: int = 1) -> int:
        """Adds to a number that is kept as decimal digits, in one step, and returns the sum. A key
        that there is not counts as 0."""
        with _trying(f"increment {self.name}/{key}"):
            return int(_host.atomics.increment(self._bucket, key, delta))

    def update(self, key: str, change: Callable[[bytes | None], str | bytes]) -> bytes:
        """Sets the key to what `change` makes of its value, if nobody changes it meanwhile; else it is
        called again with the newer value, up to 100 times ("contended"). Returns what was set."""
        what = f"update {self.name}/{key}"
        with _trying(what):
            cas = _host.atomics.Cas.new(self._bucket, key)
        for _ in range(UPDATE_TRIES_MAX):
            with _trying(what):
                old = cas.current()
            value = _bytes_of(change(old))
            try:
                _host.atomics.swap(cas, value)
                return value
            except _host.HostErr as error:
                failure = error.value  # type: ignore[attr-defined]
                if not isinstance(failure, _host.atomics.CasError_CasFailed):
                    raise _store_error(what, failure.value) from None
                cas = failure.value
        raise StoreError("contended", f"{what}: it was changed by others {UPDATE_TRIES_MAX} times meanwhile")

    def get_many(self, keys: Iterable[str]) -> list[bytes | None]:
        """The values in the order of the keys; None for one that there is not."""
        with _trying(f"get keys of {self.name}"):
            found = _host.batch.get_many(self._bucket, list(keys))
        return [None if each is None else each[1] for each in found]

    def set_many(self, values: Mapping[str, str | bytes]) -> None:
        """In order; the first that fails ends it, and those before it stay."""
        with _trying(f"set keys of {self.name}"):
            _host.batch.set_many(self._bucket, [(key, _bytes_of(value)) for key, value in values.items()])

    def delete_many(self, keys: Iterable[str]) -> None:
        """As set_many."""
        with _trying(f"delete keys of {self.name}"):
            _host.batch.delete_many(self._bucket, list(keys))


def store(name: str) -> Store:
    """Opens a bucket. StoreError: there is none of that name, or no grant for it."""
    return Store(name)

# SPDX-License-Identifier: Apache-2.0
"""A watcher that knows only wasi:keyvalue and wasi:logging, nothing of weir: what is set in the bucket
that it watches is set in the bucket `copy` too, what is deleted is deleted there, and the key `count`
of `copy` counts the changes. What goes wrong traps, as the interface has no error. standard-rust and
standard.js do the same."""

from wit_world import exports
from wit_world.imports import atomics, logging, store


def count(copy: store.Bucket, verb: str, key: str) -> None:
    """Counts a change, and logs it with how many keys the copy has."""
    changes = atomics.increment(copy, "count", 1)
    keys, cursor = 0, None
    while True:
        page = copy.list_keys(cursor)
        keys += len(page.keys)
        cursor = page.cursor
        if cursor is None:
            break
    logging.log(logging.Level.INFO, "copy", f"{verb} {key}: change {changes}, {keys} keys")


class Watcher(exports.Watcher):
    def on_set(self, bucket: store.Bucket, key: str, value: bytes) -> None:
        copy = store.open("copy")
        copy.set(key, value)
        assert copy.get(key) == value
        count(copy, "set", key)

    def on_delete(self, bucket: store.Bucket, key: str) -> None:
        copy = store.open("copy")
        copy.delete(key)
        assert not copy.exists(key)
        count(copy, "deleted", key)

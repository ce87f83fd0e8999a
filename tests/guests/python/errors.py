# SPDX-License-Identifier: Apache-2.0
"""Does what the event's subject says. Proves: each way that a guest in Python can fail is cut or
told, and the next event is handled as if nothing had been."""

import os
import time

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import types

LINE = "x" * 1000


def do_ok():
    return None


def do_err():
    """The WIT's err: the handler's own answer."""
    raise Err("this handler never succeeds")


def do_throw():
    """Any other exception is no answer; the runtime traps."""
    raise RuntimeError("nobody catches this")


def do_trap():
    os.abort()


def do_recurse():
    return do_recurse()


def do_loop():
    while True:
        pass


def do_allocate():
    kept = []
    while True:
        kept.append(b"x" * (1 << 20))


def do_print():
    while True:
        print(LINE)


def do_sleep():
    """Waits in the host."""
    time.sleep(3600)


class EventHandler(exports.EventHandler):
    def handle_event(self, event: types.Event) -> types.Event | None:
        deed = globals().get(f"do_{event.subject}")
        if deed is None:
            raise Err(f"there is no deed {event.subject}")
        print(f"{event.subject}: begin", flush=True)
        return deed()

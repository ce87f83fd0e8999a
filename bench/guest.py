# SPDX-License-Identifier: Apache-2.0
"""What guest.c does, in Python: an event with a subject is returned as it came, one without is only
taken."""

from wit_world import exports
from wit_world.imports import types


class EventHandler(exports.EventHandler):
    def handle_event(self, event: types.Event) -> types.Event | None:
        return event if event.subject is not None else None

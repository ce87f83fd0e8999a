# SPDX-License-Identifier: Apache-2.0
"""Returns the event it got. Proves: an event comes back from a guest in Python byte for byte,
whatever is in it."""

from wit_world import exports
from wit_world.imports import types


class EventHandler(exports.EventHandler):
    def handle_event(self, event: types.Event) -> types.Event | None:
        return event

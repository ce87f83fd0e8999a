# SPDX-License-Identifier: Apache-2.0
"""The seed's program in Python: run watches two keys of a store and lets the host deliver what
changes; the handler says what it got and returns it. The two run in different instances."""

import wit_world
from wit_world import exports
from wit_world.imports import types
from wit_world.imports.events import Events
from wit_world.imports.resources import open, watch


class WitWorld(wit_world.WitWorld):
    def run(self) -> None:
        rd = open("my-container")

        events = Events.get()
        events = events.listen(watch(rd, "my-key1"))
        events = events.listen(watch(rd, "my-key2"))
        events.exec(0)


class EventHandler(exports.EventHandler):
    def handle_event(self, event: types.Event) -> types.Event | None:
        print(f"source: {event.source}")
        print(f"type:   {event.ty}")
        if isinstance(event.data, types.Payload_Text):
            print(f"data:   {event.data.value.rstrip()}")
        print(f"this event {event.subject or event.id} has been handled", flush=True)
        return event

# SPDX-License-Identifier: Apache-2.0
"""The seed's program in Python: run watches two keys of a store and lets the host deliver what changes;
the handler says what it got and returns it. The two run in different instances."""

import weir


@weir.main
def run() -> None:
    rd = weir.open("my-container")

    events = weir.Events.get()
    events.listen(weir.watch(rd, "my-key1")).listen(weir.watch(rd, "my-key2")).exec(0)


@weir.handler
def handle_event(event: weir.Event) -> weir.Event:
    print("source:", event.source)
    print("type:  ", event.type)
    print("data:  ", event.text().rstrip())
    print(f"this event {event.subject or event.id} has been handled", flush=True)
    return event

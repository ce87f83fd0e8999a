# SPDX-License-Identifier: Apache-2.0
"""A handler that may reject: the bodies "retry" and "reject" are answered so, with the subject for a
reason; any other event is returned. Proves: what the runtime makes of the variant `failure` is what
the host reads."""

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import types

FAILURES = {"retry": types.Failure_Retry, "reject": types.Failure_Reject}


class EventHandlerOrReject(exports.EventHandlerOrReject):
    def handle_event_or_reject(self, event: types.Event) -> types.Event | None:
        print(f"python got {event.subject}", flush=True)
        body = event.data.value if isinstance(event.data, types.Payload_Text) else None
        if body in FAILURES:
            raise Err(FAILURES[body](event.subject))
        return event

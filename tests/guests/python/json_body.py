# SPDX-License-Identifier: Apache-2.0
"""Takes a JSON body and returns an event with one: of {"name": …, "numbers": […]} the greeting, and
how many numbers there are and their sum. What is no such body is answered with err. The body may
be text or bytes. json.js does the same, and returns the same bytes. (As json.py it would be found
in place of Python's own json.)"""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import types


class EventHandler(exports.EventHandler):
    def handle_event(self, event: types.Event) -> types.Event | None:
        try:
            body = json.loads(event.data.value)
            answer = {
                "greeting": "hello " + body["name"],
                "count": len(body["numbers"]),
                "sum": sum(body["numbers"]),
            }
        except (AttributeError, LookupError, TypeError, ValueError):
            raise Err("the body is not the JSON that is wanted") from None
        return types.Event(
            specversion="1.0",
            ty="dev.weir.test.greeted",
            source="/json",
            id=event.id + "-json",
            data=types.Payload_Text(json.dumps(answer, ensure_ascii=False, separators=(",", ":"))),
            datacontenttype="application/json",
            dataschema=None,
            subject=event.subject,
            time=None,
            extensions=[],
        )

# SPDX-License-Identifier: Apache-2.0
"""Takes messages by wasi:messaging, and knows nothing of weir: each is sent on to `out`, under its own
topic, with its content type and metadata, and with `forwarded` beside them. The body "fail" is
answered with an error. messaging-rust and messaging.js do the same."""

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import logging, producer
from wit_world.imports.types import Client, Error_Other, Message


class IncomingHandler(exports.IncomingHandler):
    def handle(self, message: Message) -> None:
        data = message.data()
        if data == b"fail":
            raise Err(Error_Other("the message says so"))
        topic = message.topic() or ""
        on = Message(data)
        content_type = message.content_type()
        if content_type is not None:
            on.set_content_type(content_type)
        for name, value in message.metadata() or []:
            on.add_metadata(name, value)
        on.add_metadata("forwarded", "yes")
        out = Client.connect("out")
        producer.send(out, topic, on)
        out.disconnect()
        logging.log(logging.Level.INFO, "forward", f"{topic}: {len(data)} bytes")

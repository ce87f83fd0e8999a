# SPDX-License-Identifier: Apache-2.0
"""Messages to resources that events can be published to, by wasi:messaging."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from . import _host
from ._errors import ServiceError
from ._event import encode_json


class MessagingError(ServiceError):
    """A message was not sent: "timeout", "connection", "permission-denied", "other"."""


@contextmanager
def _trying(what: str) -> Iterator[None]:
    try:
        yield
    except _host.HostErr as error:
        kind, text = _host.failure_of(error)
        raise MessagingError(kind, f"{what}: {'it took too long' if text is None else text}") from None


class Producer:
    """Where messages are sent."""

    def __init__(self, name: str) -> None:
        self.name = name
        with _trying(f"connect to {name}"):
            self._client = _host.messaging.Client.connect(name)

    def send(
        self,
        topic: str,
        body: str | bytes,
        *,
        type: str | None = None,
        content_type: str | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> None:
        """Sends to a topic, the event's subject; `type` and `content_type` are the event's, `metadata`
        its extension attributes. The message is kept by the end of the handler at the latest, and
        published behind that, also where the handler fails; called again, it sends the same id."""
        message = _host.messaging.Message(body.encode() if isinstance(body, str) else bytes(body))
        if content_type is not None:
            message.set_content_type(content_type)
        typed = {} if type is None else {"type": type}
        for name, value in {**typed, **(metadata or {})}.items():
            message.add_metadata(name, str(value))
        with _trying(f"send {topic} to {self.name}"):
            _host.producer.send(self._client, topic, message)

    def send_json(
        self,
        topic: str,
        value: object,
        *,
        type: str | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> None:
        """The same with a body of JSON."""
        self.send(topic, encode_json(value), type=type, content_type="application/json", metadata=metadata)


def producer(name: str) -> Producer:
    """Connects to a resource. MessagingError: there is none of that name, or no grant for it."""
    return Producer(name)

# SPDX-License-Identifier: Apache-2.0
"""What a guest of weir in Python is made with; README.md begins with a first handler.

    import weir

    @weir.handler
    def on_order(event: weir.Event) -> weir.Event:
        order = event.json()  # what is no JSON is rejected
        if order["amount"] == 0:
            raise weir.Reject("an order of nothing")
        return event.follow("com.example.order.accepted", json=order["amount"])
"""

from . import config, log
from ._errors import BodyError, Reject, Retry, ServiceError, reason_of
from ._event import Event, handler, main
from ._http import HttpError, Response, request
from ._main import Events, Observable, ResourceError, open, watch
from ._messaging import MessagingError, Producer, producer
from ._sql import Database, SqlError, database
from ._store import Store, StoreError, store

__all__ = [
    "BodyError", "Database", "Event", "Events", "HttpError", "MessagingError", "Observable",
    "Producer", "Reject", "ResourceError", "Response", "Retry", "ServiceError", "SqlError", "Store",
    "StoreError", "config", "database", "handler", "log", "main", "open", "producer", "reason_of", "request", "store",
    "watch",
]  # fmt: skip

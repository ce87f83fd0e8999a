# SPDX-License-Identifier: Apache-2.0
"""HTTP, by weir:http."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from . import _host
from ._errors import ServiceError
from ._event import _NOTHING, decode_json, decode_text, encode_json


class HttpError(ServiceError):
    """There was no response ("denied", "invalid", "unavailable", "timeout", "limit", "other"), or its
    body is not what was asked for ("bad-response")."""


def _bad_response(what: str) -> HttpError:
    return HttpError("bad-response", f"http: the response {what}")


class Response:
    """What a request was answered."""

    def __init__(self, response: Any) -> None:
        self.status: int = response.status
        #: In the order in which they came, names in lower case.
        self.headers: list[tuple[str, str]] = response.headers
        self._body: str | bytes = response.body.value

    @property
    def ok(self) -> bool:
        """Whether the status is one of 200 to 299."""
        return 200 <= self.status < 300

    def header(self, name: str) -> str | None:
        """The first header of that name."""
        return next((value for each, value in self.headers if each.lower() == name.lower()), None)

    def bytes(self) -> bytes:
        return self._body.encode() if isinstance(self._body, str) else self._body

    def text(self) -> str:
        """HttpError: it is no UTF-8."""
        return decode_text(self._body, _bad_response)

    def json(self) -> Any:
        """HttpError: it is no JSON."""
        return decode_json(self._body, _bad_response)


def request(
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    body: str | bytes | None = None,
    json: object = _NOTHING,
    timeout: float | None = None,
) -> Response:
    """Sends a request and waits for its response, whatever its status.

    `json` is a body in place of `body`, with its content-type unless the headers have one. `timeout` is
    in seconds, for the whole of it; unless said, what is left of the call's time. HttpError: there is
    no response.
    """
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
    if json is not _NOTHING:
        if body is not None:
            raise TypeError("a request has one body: body or json")
        body = encode_json(json)
        if not any(name.lower() == "content-type" for name, _ in pairs):
            pairs.append(("content-type", "application/json"))
    http = _host.http
    payload = None
    if body is not None:
        payload = http.Body_Text(body) if isinstance(body, str) else http.Body_Binary(bytes(body))
    timeout_ms = None if timeout is None else max(0, min(round(timeout * 1000), 2**32 - 1))
    try:
        return Response(http.send(http.Request(method, url, pairs, payload, timeout_ms)))
    except _host.HostErr as error:
        kind, text = _host.failure_of(error)
        raise HttpError(kind, f"http: {kind}: {text}") from None

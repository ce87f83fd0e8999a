# SPDX-License-Identifier: Apache-2.0
"""How a handler says that it failed. Whatever it raises is a retry, but a Reject."""

from __future__ import annotations

import sys
import traceback

# However long a chain of causes is, or whatever circle it makes.
_CAUSES_MAX = 16


class Reject(Exception):
    """The event never will be handled: no further attempt, it goes to the dead letters."""


class Retry(Exception):
    """The event cannot be handled now: it is tried again later, as after any other exception."""


class BodyError(Reject):
    """An event's body is not what was asked for. It stays so, and is rejected."""


class ServiceError(Exception):
    """Something that weir gives failed."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        #: Which failure it is, as the interface's WIT names it: "no-such-store".
        self.kind = kind


def _is_meant(error: BaseException) -> bool:
    """Whether it was raised on purpose, so that where it came from is nobody's concern."""
    return isinstance(error, (Reject, Retry, ServiceError))


def _text_of(error: BaseException) -> str:
    # What 'name' means, of a KeyError, is clearer with its kind before it.
    text = str(error)
    if _is_meant(error):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def reason_of(error: BaseException) -> str:
    """The text of an exception with those of its causes (`raise … from …`): "a: b: c"."""
    texts: list[str] = []
    each: BaseException | None = error
    while each is not None and len(texts) < _CAUSES_MAX:
        texts.append(_text_of(each))
        each = each.__cause__
    return ": ".join(texts)


def tell(error: BaseException) -> None:
    """Tells where an exception came from that nobody raised on purpose."""
    if not _is_meant(error):
        traceback.print_exception(error, file=sys.stderr)

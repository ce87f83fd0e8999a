# SPDX-License-Identifier: Apache-2.0
"""Lines in weir's log, by wasi:logging. weir adds the guest's name; they count as output of the call."""

from __future__ import annotations

from . import _host


def log(level: str, message: object, context: str = "") -> None:
    """A line of the level "trace", "debug", "info", "warn", "error" or "critical"; `context` says what
    of the guest speaks."""
    _host.logging.log(_host.logging.Level[level.upper()], context, str(message))


def trace(message: object, context: str = "") -> None:
    log("trace", message, context)


def debug(message: object, context: str = "") -> None:
    log("debug", message, context)


def info(message: object, context: str = "") -> None:
    log("info", message, context)


def warn(message: object, context: str = "") -> None:
    log("warn", message, context)


def error(message: object, context: str = "") -> None:
    log("error", message, context)


def critical(message: object, context: str = "") -> None:
    log("critical", message, context)

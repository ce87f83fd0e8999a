// SPDX-License-Identifier: Apache-2.0
//
// Lines in weir's log, by wasi:logging.
import { log as write } from "wasi:logging/logging@0.1.0-draft";

export function log(level, message, context = "") {
  write(level, context, String(message));
}

for (const level of ["trace", "debug", "info", "warn", "error", "critical"]) {
  log[level] = (message, context) => log(level, message, context);
}

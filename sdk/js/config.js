// SPDX-License-Identifier: Apache-2.0
//
// What the configuration says under the guest's `config`, by wasi:config.
import { get, getAll } from "wasi:config/store@0.2.0-rc.1";
import { ServiceError, payloadOf } from "./errors.js";

function attempt(call) {
  try {
    return call();
  } catch (error) {
    const failure = payloadOf(error);
    if (typeof failure?.tag !== "string") {
      throw error;
    }
    throw new ServiceError(failure.tag, `the guest's configuration: ${failure.val}`);
  }
}

export const config = {
  get: (name) => attempt(() => get(name)) ?? undefined,
  all: () => Object.fromEntries(attempt(getAll)),
};

// SPDX-License-Identifier: Apache-2.0
//
// How a handler says that it failed. What is thrown is a retry, but a Rejection. Imports nothing: it
// is tested without a host.

/** The event never will be handled: no further attempt, it goes to the dead letters. */
export class Rejection extends Error {
  name = "Rejection";
}

/** A body that is not what the handler wants. It stays so, and is a rejection. */
export class BodyError extends Rejection {
  name = "BodyError";
}

/** What of weir's services fails is one of these; `kind` says which failure it is. */
export class ServiceError extends Error {
  name = "ServiceError";

  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

/** To be thrown: the event never will be handled. `reason` is a text, or an error that says why. */
export function reject(reason) {
  return new Rejection(reasonOf(reason));
}

/** To be thrown: the event is tried again later, as after any other error. */
export function retry(reason) {
  return new ServiceError("retry", reasonOf(reason));
}

// However long a chain of causes is, or whatever circle it makes.
const CAUSES_MAX = 16;

function textOf(error) {
  const failure = payloadOf(error);
  if (typeof failure?.tag === "string") {
    return failure.val === undefined ? failure.tag : `${failure.tag}: ${failure.val}`;
  }
  if (!(error instanceof Error)) {
    return String(error);
  }
  // What "x is undefined" means is clearer with its kind before it.
  return isMeant(error) || error.name === "Error" ? error.message : `${error.name}: ${error.message}`;
}

/** The text of an error with those of its causes: "a: b: c". */
export function reasonOf(error) {
  const texts = [];
  for (let each = error; each !== undefined && each !== null && texts.length < CAUSES_MAX;) {
    texts.push(textOf(each));
    each = each instanceof Error ? each.cause : undefined;
  }
  return texts.join(": ");
}

/** The WIT's variant `failure` for what was thrown. */
export function failureOf(error) {
  return { tag: error instanceof Rejection ? "reject" : "retry", val: reasonOf(error) };
}

/** Whether it was thrown on purpose, so that where it came from is nobody's concern. */
export function isMeant(error) {
  return error instanceof Rejection || error instanceof ServiceError || !(error instanceof Error);
}

/** What the host answered where a call of it failed: the runtime wraps the WIT's error. */
export function payloadOf(error) {
  // No instanceof: the runtime's errors are not of this module's Error.
  return typeof error === "object" && error !== null && "payload" in error ? error.payload : error;
}

// SPDX-License-Identifier: Apache-2.0
//
// Does what the event's subject says. Proves: each way that a guest in JavaScript can fail is cut or
// told, and the next event is handled as if nothing had been.
const LINE = "x".repeat(1000);

const deeds = {
  ok() {},
  // A text is the WIT's err: the handler's own answer.
  err() {
    throw "this handler never succeeds";
  },
  // An exception is no answer; the runtime traps.
  throw() {
    throw new Error("nobody catches this");
  },
  // Not what the WIT says it returns.
  trap() {
    return 42;
  },
  recurse() {
    return 1 + deeds.recurse();
  },
  loop() {
    for (;;) {
    }
  },
  allocate() {
    const kept = [];
    for (;;) {
      kept.push(new Uint8Array(1 << 20).fill(1));
    }
  },
  print() {
    for (;;) {
      console.log(LINE);
    }
  },
  // Waits in the host: the runtime's timers are polled for there.
  sleep() {
    return new Promise((resolve) => setTimeout(resolve, 3600 * 1000));
  },
};

export const eventHandler = {
  handleEvent(event) {
    const deed = deeds[event.subject];
    if (deed === undefined) {
      throw `there is no deed ${event.subject}`;
    }
    console.log(`${event.subject}: begin`);
    return deed();
  },
};

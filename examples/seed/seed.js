// SPDX-License-Identifier: Apache-2.0
//
// The seed's program in JavaScript: run watches two keys of a store and lets the host deliver what
// changes; the handler says what it got and returns it. The two run in different instances.
import { Events, handler, main, open, watch } from "weir";

export const run = main(() => {
  const rd = open("my-container");

  Events.get().listen(watch(rd, "my-key1")).listen(watch(rd, "my-key2")).exec(0n);
});

export const eventHandler = handler((event) => {
  console.log(`source: ${event.source}`);
  console.log(`type:   ${event.type}`);
  console.log(`data:   ${event.text().trimEnd()}`);
  console.log(`this event ${event.subject ?? event.id} has been handled`);
  return event;
});

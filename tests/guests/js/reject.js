// SPDX-License-Identifier: Apache-2.0
//
// A handler that may reject: the bodies "retry" and "reject" are answered so, with the subject for a
// reason; any other event is returned. Proves: what the runtime makes of the variant `failure` is
// what the host reads.
export const eventHandlerOrReject = {
  handleEventOrReject(event) {
    console.log(`js got ${event.subject}`);
    if (event.data?.tag === "text" && ["retry", "reject"].includes(event.data.val)) {
      throw { tag: event.data.val, val: event.subject };
    }
    return event;
  },
};

// SPDX-License-Identifier: Apache-2.0
//
// Returns the event it got. Proves: an event comes back from a guest in JavaScript byte for byte,
// whatever is in it.
export const eventHandler = {
  handleEvent(event) {
    return event;
  },
};

// SPDX-License-Identifier: Apache-2.0
//
// What guest.c does, in JavaScript: an event with a subject is returned as it came, one without is
// only taken.
export const eventHandler = {
  handleEvent(event) {
    return event.subject === undefined ? undefined : event;
  },
};

// SPDX-License-Identifier: Apache-2.0
//
// Does what the event's subject says, by sdk/js. Proves: a body is JSON, text and bytes whatever its
// case, events that follow are what the SDK says, and errors become retries and rejections. sdk-rust
// and sdk.py do the same, and return the same bytes.
import { handler, reject } from "weir";

function greet({ name, numbers }) {
  if (typeof name !== "string" || !Array.isArray(numbers)) {
    throw reject("the body has no name or no numbers");
  }
  return {
    greeting: `hello ${name}`,
    count: numbers.length,
    sum: numbers.reduce((sum, number) => sum + number, 0),
  };
}

function number(text) {
  if (!/^\d+$/.test(text)) {
    throw new SyntaxError("digits are wanted");
  }
  return Number(text);
}

const deeds = {
  json: (event) => event.follow({ type: "dev.weir.test.greeted", json: greet(event.json()) }),
  text: (event) => event.follow({
    type: "dev.weir.test.text",
    text: event.text().toUpperCase(),
    datacontenttype: "text/plain",
    extensions: { attemptseen: event.attempt },
  }),
  // async, which is no different.
  bytes: async (event) => event.follow({
    type: "dev.weir.test.bytes",
    bytes: event.bytes().slice().reverse(),
    subject: "reversed",
  }),
  none: () => {},
  retry: () => {
    throw new Error("not now");
  },
  // A cause and what was being done.
  number: (event) => {
    try {
      return event.follow({ type: "dev.weir.test.number", text: number(event.text()) });
    } catch (cause) {
      throw new Error("the body is no number", { cause });
    }
  },
  "number-or-reject": (event) => {
    try {
      return event.follow({ type: "dev.weir.test.number", text: number(event.text()) });
    } catch (error) {
      throw reject(error);
    }
  },
};

export const eventHandler = handler((event) => {
  const deed = deeds[event.subject];
  if (deed === undefined) {
    throw reject(`there is no deed ${event.subject}`);
  }
  return deed(event);
});

export const onOrder = handler((event) => {
  console.log(`on-order got ${event.text()}`);
  throw new Error("no orders now");
});

export const onOrderOrReject = handler((event) => {
  console.log(`on-order-or-reject got ${event.text()}`);
  throw reject("no orders");
});

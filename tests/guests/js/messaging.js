// SPDX-License-Identifier: Apache-2.0
//
// Takes messages by wasi:messaging, and knows nothing of weir: each is sent on to `out`, under its own
// topic, with its content type and metadata, and with `forwarded` beside them. The body "fail" is
// answered with an error. messaging-rust and messaging.py do the same.
import { log } from "wasi:logging/logging@0.1.0-draft";
import { send } from "wasi:messaging/producer@0.2.0-draft";
import { Client, Message } from "wasi:messaging/types@0.2.0-draft";

export const incomingHandler = {
  handle(message) {
    const data = message.data();
    if (new TextDecoder().decode(data) === "fail") {
      throw { tag: "other", val: "the message says so" };
    }
    const topic = message.topic() ?? "";
    const on = new Message(data);
    const contentType = message.contentType();
    if (contentType !== undefined) {
      on.setContentType(contentType);
    }
    for (const [name, value] of message.metadata() ?? []) {
      on.addMetadata(name, value);
    }
    on.addMetadata("forwarded", "yes");
    const out = Client.connect("out");
    send(out, topic, on);
    out.disconnect();
    log("info", "forward", `${topic}: ${data.length} bytes`);
  },
};

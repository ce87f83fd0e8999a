// SPDX-License-Identifier: Apache-2.0
//
// Messages to resources that events can be published to, by wasi:messaging.
import { send } from "wasi:messaging/producer@0.2.0-draft";
import { Client, Message } from "wasi:messaging/types@0.2.0-draft";
import { ServiceError, payloadOf } from "./errors.js";
import { bytesOf, encodeJson } from "./event.js";

export class MessagingError extends ServiceError {
  name = "MessagingError";
}

function attempt(what, call) {
  try {
    return call();
  } catch (error) {
    const failure = payloadOf(error);
    if (typeof failure?.tag !== "string") {
      throw error;
    }
    throw new MessagingError(failure.tag, `${what}: ${failure.val ?? "it took too long"}`);
  }
}

export class Producer {
  #client;

  constructor(name) {
    this.name = name;
    this.#client = attempt(`connect to ${name}`, () => Client.connect(name));
  }

  send(topic, body, init = {}) {
    const message = new Message(bytesOf(body));
    if (init.contentType !== undefined) {
      message.setContentType(init.contentType);
    }
    const type = init.type === undefined ? {} : { type: init.type };
    for (const [name, value] of Object.entries({ ...type, ...init.metadata })) {
      message.addMetadata(name, String(value));
    }
    attempt(`send ${topic} to ${this.name}`, () => send(this.#client, topic, message));
  }

  sendJson(topic, value, init = {}) {
    this.send(topic, encodeJson(value), { contentType: "application/json", ...init });
  }
}

export function producer(name) {
  return new Producer(name);
}

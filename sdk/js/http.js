// SPDX-License-Identifier: Apache-2.0
//
// HTTP, by weir:http.
import { send } from "weir:http/client@0.1.0";
import { ServiceError, payloadOf } from "./errors.js";
import { bytesOf, decodeJson, decodeText, encodeJson } from "./event.js";

export class HttpError extends ServiceError {
  name = "HttpError";
}

const badResponse = (what) => new HttpError("bad-response", `http: the response ${what}`);

export class Response {
  #body;

  constructor(response) {
    this.status = response.status;
    this.headers = response.headers;
    this.#body = response.body;
  }

  get ok() {
    return this.status >= 200 && this.status < 300;
  }

  header(name) {
    const wanted = name.toLowerCase();
    return this.headers.find(([each]) => each.toLowerCase() === wanted)?.[1];
  }

  bytes() {
    return bytesOf(this.#body.val);
  }

  text() {
    return decodeText(this.#body, badResponse);
  }

  json() {
    return decodeJson(this.#body, badResponse);
  }
}

function bodyOf(init) {
  if (init.json !== undefined) {
    return { tag: "text", val: encodeJson(init.json) };
  }
  if (init.body === undefined) {
    return undefined;
  }
  return typeof init.body === "string" ? { tag: "text", val: init.body }
    : { tag: "binary", val: bytesOf(init.body) };
}

export function request(url, init = {}) {
  const headers = Array.isArray(init.headers) ? init.headers : Object.entries(init.headers ?? {});
  const isTyped = headers.some(([name]) => name.toLowerCase() === "content-type");
  try {
    return new Response(send({
      method: init.method ?? "GET",
      url: String(url),
      headers: init.json === undefined || isTyped ? headers
        : [...headers, ["content-type", "application/json"]],
      body: bodyOf(init),
      timeoutMs: init.timeout,
    }));
  } catch (error) {
    const failure = payloadOf(error);
    if (typeof failure?.tag !== "string") {
      throw error;
    }
    throw new HttpError(failure.tag, `http: ${failure.tag}: ${failure.val}`);
  }
}

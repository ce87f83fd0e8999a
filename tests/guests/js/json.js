// SPDX-License-Identifier: Apache-2.0
//
// Takes a JSON body and returns an event with one: of {"name": …, "numbers": […]} the greeting, and
// how many numbers there are and their sum. What is no such body is answered with err. The body may
// be text or bytes. json_body.py does the same, and returns the same bytes.
function parse(data) {
  const text = data?.tag === "binary" ? new TextDecoder("utf-8", { fatal: true }).decode(data.val)
    : data?.val;
  const body = JSON.parse(text);
  if (typeof body.name !== "string" || !Array.isArray(body.numbers)) {
    throw new TypeError("name or numbers are missing");
  }
  return body;
}

export const eventHandler = {
  handleEvent(event) {
    let body;
    try {
      body = parse(event.data);
    } catch {
      throw "the body is not the JSON that is wanted";
    }
    const answer = {
      greeting: `hello ${body.name}`,
      count: body.numbers.length,
      sum: body.numbers.reduce((sum, number) => sum + number, 0),
    };
    return {
      specversion: "1.0",
      ty: "dev.weir.test.greeted",
      source: "/json",
      id: `${event.id}-json`,
      subject: event.subject,
      datacontenttype: "application/json",
      data: { tag: "text", val: JSON.stringify(answer) },
      extensions: [],
    };
  },
};

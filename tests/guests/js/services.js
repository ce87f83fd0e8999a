// SPDX-License-Identifier: Apache-2.0
//
// Does what the event's subject says with what weir gives beside events, by sdk/js, and returns what
// came of it. Proves: the SDK's calls reach the interfaces that they are for. services-rust and
// services.py do the same, and return the same bytes.
import { SqlError, config, database, handler, log, producer, reject, request, store } from "weir";

function useStore() {
  const copy = store("copy");
  copy.set("a", "one");
  copy.setJson("b", { two: 2 });
  copy.update("a", (value) => [...value, 33].reduce((bytes, byte, at) => {
    bytes[at] = byte;
    return bytes;
  }, new Uint8Array(value.length + 1)));
  copy.setMany({ c: "3", d: "4" });
  copy.deleteMany(["c"]);
  const keys = [...copy.keys()];
  const many = copy.getMany(["a", "none"]);
  copy.delete("d");
  return {
    a: copy.getText("a"),
    b: copy.getJson("b"),
    count: copy.increment("count", 2),
    exists: [copy.exists("a"), copy.exists("d")],
    keys,
    many: many.map((value) => value?.length ?? null),
    none: copy.get("none") ?? null,
  };
}

function useSql() {
  const shop = database("shop");
  const changed = shop.execute("insert into t values (?1, ?2, ?3, ?4, ?5)",
    [1, "größe", 0.5, null, new Uint8Array([0, 255])]);
  const rows = shop.query("select * from t where id = ?1", [1]);
  let kind = "";
  try {
    shop.query("select nothing from");
  } catch (error) {
    kind = error instanceof SqlError ? error.kind : "none";
  }
  return { changed, kind, rows: rows.map((row) => ({ ...row, bytes: [...row.bytes] })) };
}

const deeds = {
  store: useStore,
  sql: useSql,
  config: () => ({ greeting: config.get("greeting"), none: config.get("none") ?? null }),
  log: (body) => {
    log.info(`logged ${body}`);
    return null;
  },
  send: (body) => {
    producer("out").send("sent", body, { contentType: "text/plain", type: "dev.weir.test.sent" });
    return null;
  },
  http: (url) => {
    const response = request(url, { method: "POST", headers: { "x-test": "1" }, body: "ping" });
    return { body: response.text(), status: response.status };
  },
};

export const eventHandler = handler((event) => {
  const deed = deeds[event.subject];
  if (deed === undefined) {
    throw reject(`there is no deed ${event.subject}`);
  }
  return event.follow({ type: "dev.weir.test.done", json: deed(event.text()) });
});

// SPDX-License-Identifier: Apache-2.0
//
// What a guest of weir in JavaScript imports: `import { handler } from "weir"`. index.d.ts has the
// reference. The modules have no effects but their exports, so that what a guest does not use is left
// out when it is built, and with it the import of the host that it stands for.
export { config } from "./config.js";
export { BodyError, Rejection, ServiceError, reject, retry } from "./errors.js";
export { Event, handler, main } from "./event.js";
export { Events, open, watch } from "./host.js";
export { HttpError, Response, request } from "./http.js";
export { log } from "./log.js";
export { MessagingError, Producer, producer } from "./messaging.js";
export { Database, SqlError, database, decimal } from "./sql.js";
export { Store, StoreError, store } from "./store.js";

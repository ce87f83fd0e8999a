// SPDX-License-Identifier: Apache-2.0
//
// Databases, by weir:sql.
import { execute, query } from "weir:sql/sql@0.1.0";
import { ServiceError, payloadOf } from "./errors.js";
import { rowsOf, valueOf } from "./values.js";

export { decimal } from "./values.js";

export class SqlError extends ServiceError {
  name = "SqlError";
}

/** Calls the host; what it throws becomes an SqlError with what was tried. */
function attempt(what, call, name, statement, parameters) {
  const values = parameters.map(valueOf);
  try {
    return call(name, statement, values);
  } catch (error) {
    const failure = payloadOf(error);
    if (typeof failure?.tag !== "string") {
      throw error;
    }
    throw new SqlError(failure.tag, `${what} ${name}: ${failure.val}`);
  }
}

export class Database {
  constructor(name) {
    this.name = name;
  }

  query(statement, parameters = []) {
    const rows = attempt("query", query, this.name, statement, parameters);
    try {
      return rowsOf(rows);
    } catch (error) {
      throw new SqlError("bad-value", `query ${this.name}: ${error.message}`);
    }
  }

  execute(statement, parameters = []) {
    return Number(attempt("execute", execute, this.name, statement, parameters));
  }
}

/** A resource that takes SQL. Nobody is asked yet whether there is one of that name. */
export function database(name) {
  return new Database(name);
}

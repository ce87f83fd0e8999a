// SPDX-License-Identifier: Apache-2.0
//
// Values of SQL as JavaScript has them. Imports nothing of the host: it is tested without one.
import { bytesOf } from "./event.js";

const INTEGER_MIN = -(2n ** 63n), INTEGER_MAX = 2n ** 63n - 1n;

/** Digits that no number holds, to be handed over as they are. */
class Decimal {
  constructor(text) {
    this.text = String(text);
  }
}

export function decimal(text) {
  return new Decimal(text);
}

function integer(value) {
  if (value < INTEGER_MIN || value > INTEGER_MAX) {
    throw new RangeError(`${value} is no integer of 64 bits; decimal("${value}") is one of its digits`);
  }
  return { tag: "integer", val: value };
}

/** The WIT's value of a parameter. */
export function valueOf(parameter) {
  switch (typeof parameter) {
    case "undefined":
      return { tag: "null" };
    case "boolean":
      return { tag: "boolean", val: parameter };
    case "number":
      return Number.isSafeInteger(parameter) && !Object.is(parameter, -0)
        ? integer(BigInt(parameter)) : { tag: "real", val: parameter };
    case "bigint":
      return integer(parameter);
    case "string":
      return { tag: "text", val: parameter };
    case "object":
      return ofObject(parameter);
    default:
      throw new TypeError(`a ${typeof parameter} is no value of SQL`);
  }
}

function ofObject(parameter) {
  if (parameter === null) {
    return { tag: "null" };
  }
  if (parameter instanceof Decimal) {
    return { tag: "decimal", val: parameter.text };
  }
  if (parameter instanceof Date) {
    return { tag: "text", val: parameter.toISOString() };
  }
  return parameter instanceof ArrayBuffer || ArrayBuffer.isView(parameter)
    ? { tag: "binary", val: bytesOf(parameter) }
    : { tag: "json", val: JSON.stringify(parameter) };
}

function fromValue({ tag, val }) {
  switch (tag) {
    case "null":
      return null;
    case "integer": {
      const number = Number(val);
      return Number.isSafeInteger(number) ? number : val;
    }
    case "binary":
      return bytesOf(val);
    case "json":
      return JSON.parse(val);
    default:
      return val;
  }
}

/** Objects with the columns' names, of a row-set of the WIT. */
export function rowsOf({ columns, values }) {
  const rows = [];
  for (let at = 0; at < values.length; at += columns.length) {
    rows.push(Object.fromEntries(
      columns.map((column, index) => [column, fromValue(values[at + index])])));
  }
  return rows;
}

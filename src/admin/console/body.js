// SPDX-License-Identifier: Apache-2.0
//
// What an event carries, for reading: JSON with its indents, text as it is, other bytes as in a hex
// dump. Nothing of it is ever markup.

import { make, printed } from "/dom.js";
import * as format from "/format.js";

const HEX_BYTES_MAX = 1024;
const HEX_ROW_BYTES = 16;

function bytesOf(base64) {
    const text = atob(base64);
    return Uint8Array.from(text, (each) => each.charCodeAt(0));
}

function hexDump(bytes) {
    const rows = [];
    for (let at = 0; at < Math.min(bytes.length, HEX_BYTES_MAX); at += HEX_ROW_BYTES) {
        const row = [...bytes.slice(at, at + HEX_ROW_BYTES)];
        const hex = row.map((each) => each.toString(16).padStart(2, "0")).join(" ");
        const text = row
            .map((each) => (each >= 0x20 && each < 0x7f ? String.fromCharCode(each) : "."))
            .join("");
        rows.push(`${at.toString(16).padStart(4, "0")}  ${hex.padEnd(3 * HEX_ROW_BYTES)} ${text}`);
    }
    if (bytes.length > HEX_BYTES_MAX) {
        rows.push(`… ${bytes.length - HEX_BYTES_MAX} bytes more`);
    }
    return rows.join("\n");
}

function indented(data) {
    if (typeof data !== "string") {
        return JSON.stringify(data, null, 2);
    }
    try {
        const value = JSON.parse(data);
        return typeof value === "object" && value !== null ? JSON.stringify(value, null, 2) : data;
    } catch {
        return data;
    }
}

/** The body of an event in CloudEvents' JSON, with a heading. */
export function bodyOf(event, isCut) {
    const cut = isCut ? ", cut here" : "";
    if (event.data_base64 !== undefined) {
        const bytes = bytesOf(event.data_base64);
        return [
            make("h4", { text: `Data: ${format.bytes(bytes.length)}, binary${cut}` }),
            printed("Data", hexDump(bytes), "hex"),
        ];
    }
    if (event.data !== undefined && event.data !== null) {
        return [make("h4", { text: `Data${cut}` }), printed("Data", indented(event.data))];
    }
    return [
        make("h4", { text: "Data" }),
        make("p", { class: "note", text: "The event has none." }),
    ];
}

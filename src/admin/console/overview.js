// SPDX-License-Identifier: Apache-2.0
//
// The first view: the sums, the picture, resources and guests.

import { byId, make, setAttribute, setText } from "/dom.js";
import * as format from "/format.js";
import { Picture } from "/picture.js";

// Of a configuration with more, the tables show the first.
const ROWS_MAX = 200;

const FIGURES = [
    ["Handled", ({ totals }) => format.rate(totals.handled)],
    [
        "Failed",
        ({ totals }) => format.rate(totals.failed),
        ({ totals }) => totals.failed > 0 && "is-failing",
    ],
    [
        "Lag",
        ({ totals }) => format.plural(totals.lag, "event"),
        ({ lagging }) => lagging > 0 && "is-lagging",
    ],
    [
        "Retrying keys",
        ({ totals }) => format.count(totals.retrying),
        ({ totals }) => totals.retrying > 0 && "is-failing",
    ],
    ["Dead since start", ({ totals }) => format.count(totals.dead)],
    ["Subscriptions", ({ model }) => String(model.subscriptions.size)],
    ["Resources away", ({ away }) => String(away), ({ away }) => away > 0 && "is-lagging"],
];

function connection({ is_connected: isConnected, since, error }) {
    if (isConnected === null || isConnected === undefined) {
        return ["is-zero", "has none"];
    }
    return isConnected
        ? ["is-flowing", `connected since ${format.moment(since)}`]
        : ["is-lagging", `away since ${format.moment(since)}${error ? `: ${error}` : ""}`];
}

/** Fills a table's body with rows of texts; [class, text] has a colour. */
function fill(body, rows) {
    while (body.children.length > rows.length) {
        body.lastChild.remove();
    }
    rows.forEach((cells, at) => {
        const row =
            body.children[at] ??
            body.appendChild(
                make(
                    "tr",
                    {},
                    ...cells.map(([css], column) =>
                        make(column === 0 ? "th" : "td", {
                            class: css,
                            scope: column === 0 ? "row" : null,
                        }),
                    ),
                ),
            );
        cells.forEach(([css, text], column) => {
            setAttribute(row.children[column], "class", css);
            setText(row.children[column], text);
        });
    });
}

export class Overview {
    #model;
    #picture = new Picture();
    #figures = FIGURES.map(([name, of, toneOf]) => ({ name, of, toneOf, value: make("dd") }));

    constructor(model) {
        this.#model = model;
        byId("figures").append(
            ...this.#figures.map(({ name, value }) =>
                make("div", {}, make("dt", { text: name }), value),
            ),
        );
        byId("picture-text").addEventListener("toggle", () => this.tick());
        new ResizeObserver(() => this.tick()).observe(byId("picture"));
    }

    show() {
        this.tick();
    }

    hide() {}

    tick() {
        const model = this.#model;
        if (model.status === null || byId("view-overview").hidden) {
            return;
        }
        const { guests } = model.status;
        const resources = [...model.resources.values()];
        const told = {
            model,
            totals: model.totals(),
            away: resources.filter((each) => each.is_connected === false).length,
            lagging: [...model.subscriptions.values()].filter((each) => each.health === "lagging")
                .length,
        };
        for (const { of, toneOf, value } of this.#figures) {
            setText(value, of(told));
            setAttribute(value, "class", toneOf?.(told) || null);
        }
        this.#picture.update(model);
        fill(
            byId("resources"),
            resources
                .slice(0, ROWS_MAX)
                .map((each) => [
                    ["", each.name],
                    ["", each.kind],
                    connection(each),
                    ["number is-zero", format.count(each.reconnects_total)],
                ]),
        );
        fill(
            byId("guests"),
            guests.slice(0, ROWS_MAX).map((each) => [
                ["", each.name],
                ["", each.lane],
                ["number", format.count(each.instances)],
                ["number", format.bytes(each.memory_bytes)],
                ["number", format.count(each.instances_made_total)],
                ["number", format.took(each.compile_ms / 1000)],
            ]),
        );
    }
}

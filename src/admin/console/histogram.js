// SPDX-License-Identifier: Apache-2.0
//
// A histogram as bars, a bar for each bucket from the first to the last that has something, and
// percentiles of it. weir counts in buckets, so a percentile is an estimate: where in its bucket it
// lies is not known, and the text says so. Each bar can be read in a table, too.

import { draw, make } from "/dom.js";
import * as format from "/format.js";

const WIDTH = 480;
const HEIGHT = 132;
const GROUND = HEIGHT - 20;
const BARS_MIN = 8; // also where fewer buckets have something
const BOUNDS_SHOWN = 8; // below the bars
const COUNT_WIDTH = 26; // of a bar that has room for its count
const PERCENTILES = [50, 90, 99];

/** Seconds, within the bucket by a straight line; null where nothing was counted. Of what is above
 * the last bound only that bound is known. */
export function percentile(histogram, share) {
    const { le_seconds: bounds, counts, count } = histogram;
    if (count === 0) {
        return null;
    }
    let below = 0;
    for (let at = 0; at < counts.length; at += 1) {
        if (counts[at] > 0 && below + counts[at] >= share * count) {
            if (at === bounds.length) {
                return bounds[at - 1];
            }
            const from = at === 0 ? 0 : bounds[at - 1];
            return from + (bounds[at] - from) * ((share * count - below) / counts[at]);
        }
        below += counts[at];
    }
    return bounds[bounds.length - 1];
}

function range(bounds, at) {
    if (at === bounds.length) {
        return `above ${format.took(bounds[at - 1])}`;
    }
    return at === 0
        ? `up to ${format.took(bounds[0])}`
        : `${format.took(bounds[at - 1])} to ${format.took(bounds[at])}`;
}

/** From which bucket to which (not included) bars are drawn. */
function shown(counts) {
    let first = counts.findIndex((each) => each > 0);
    let last = counts.length - [...counts].reverse().findIndex((each) => each > 0);
    if (first < 0) {
        return [0, Math.min(BARS_MIN, counts.length)];
    }
    while (last - first < BARS_MIN && (first > 0 || last < counts.length)) {
        first = Math.max(0, first - 1);
        last = Math.min(counts.length, last + 1);
    }
    return [first, last];
}

/** The bar of a bucket, with its count above it where there is room. */
function bar(histogram, at, { x, step, top }) {
    const count = histogram.counts[at];
    const height = (count / top) * (GROUND - 16);
    const y = GROUND - height;
    const hasCount = count > 0 && step > COUNT_WIDTH;
    return [
        draw(
            "rect",
            { class: "bar", x: x + 1, y, width: step - 2, height },
            draw("title", { text: `${range(histogram.le_seconds, at)}: ${count}` }),
        ),
        hasCount
            ? draw("text", {
                  class: "bar-count",
                  x: x + step / 2,
                  y: y - 3,
                  "text-anchor": "middle",
                  text: format.count(count),
              })
            : null,
    ];
}

function bound(seconds, x, anchor) {
    return draw("text", {
        class: "bar-bound",
        x,
        y: HEIGHT - 6,
        "text-anchor": anchor,
        text: format.took(seconds),
    });
}

function bars(histogram, name) {
    const { le_seconds: bounds, counts } = histogram;
    const [first, last] = shown(counts);
    const step = WIDTH / (last - first);
    const place = { step, top: Math.max(1, ...counts) };
    const parts = [];
    // Every bound would not fit below its bar.
    const each = Math.ceil((last - first) / BOUNDS_SHOWN);
    for (let at = first; at < last; at += 1) {
        const x = (at - first) * step;
        parts.push(...bar(histogram, at, { ...place, x }));
        if (at < bounds.length && (at - first) % each === each - 1) {
            parts.push(bound(bounds[at], x + step, at === last - 1 ? "end" : "middle"));
        }
    }
    return draw(
        "svg",
        {
            class: "histogram",
            viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
            role: "img",
            "aria-label": `${name}, ${histogram.count} in all; the table below has each bucket`,
        },
        ...parts,
        draw("line", { class: "ground", x1: 0, x2: WIDTH, y1: GROUND + 0.5, y2: GROUND + 0.5 }),
    );
}

function table(histogram) {
    const { le_seconds: bounds, counts } = histogram;
    const rows = counts.map((count, at) =>
        count === 0
            ? null
            : make(
                  "tr",
                  {},
                  make("th", { scope: "row", text: range(bounds, at) }),
                  make("td", { class: "number", text: String(count) }),
                  make("td", { class: "number", text: format.percent(count / histogram.count) }),
              ),
    );
    return make(
        "table",
        { class: "plain" },
        make(
            "thead",
            {},
            make(
                "tr",
                {},
                make("th", { scope: "col", text: "Bucket" }),
                make("th", { scope: "col", class: "number", text: "Events" }),
                make("th", { scope: "col", class: "number", text: "Share" }),
            ),
        ),
        make("tbody", {}, ...rows),
    );
}

/** The panel of one histogram. `explanation` says what is measured. */
export class Histogram {
    #name;
    #figures = make("p", { class: "percentiles" });
    #bars = make("div");
    #table = make(
        "details",
        { class: "bucket-table" },
        make("summary", { text: "Buckets as a table" }),
    );
    #last = "";

    constructor(name, explanation) {
        this.#name = name;
        this.#table.append(make("div"));
        this.node = make(
            "div",
            { class: "panel" },
            make("h3", { text: name }),
            make("p", { class: "note", text: explanation }),
            this.#figures,
            this.#bars,
            this.#table,
        );
    }

    update(histogram) {
        const text = JSON.stringify(histogram);
        if (text === this.#last) {
            return;
        }
        this.#last = text;
        const { count, sum_seconds: sum } = histogram;
        this.#figures.replaceChildren(
            ...PERCENTILES.map((each) =>
                make(
                    "span",
                    {},
                    make("b", { text: `p${each} ` }),
                    `≈ ${format.took(percentile(histogram, each / 100))}`,
                ),
            ),
            make(
                "span",
                {},
                make("b", { text: "mean " }),
                format.took(count > 0 ? sum / count : null),
            ),
            make(
                "span",
                {},
                make("b", { text: "count " }),
                make("span", { class: "count", text: String(count) }),
            ),
            make("span", { class: "note", text: "Percentiles are estimates out of buckets." }),
        );
        this.#bars.replaceChildren(bars(histogram, this.#name));
        this.#table.lastChild.replaceChildren(table(histogram));
    }
}

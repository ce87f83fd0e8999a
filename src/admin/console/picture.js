// SPDX-License-Identifier: Apache-2.0
//
// The picture: resources, their subscriptions, the guests that handle them, and below all of it the
// way back of what handlers return (`to:`). Lines are as wide as the logarithm of their rate.
//
// It is laid out anew where the set of its boxes or its width changes, and otherwise only its texts,
// widths and colours are set: a second costs little.

import { byId, draw, make, setAttribute, setText } from "/dom.js";
import * as format from "/format.js";
import { NEEDS_EYES, RETURNS_MAX, graphOf, sentence } from "/graph.js";
import { HEALTH } from "/model.js";

// Boxes have a name and a line below it; on a narrow page the name may take two lines.
const HEIGHTS = { wide: { box: 40, row: 52 }, narrow: { box: 52, row: 62 } };
const MARGIN = 6;
const RETURN_HEIGHT = 24;
const GUTTER = 14; // beside the picture, for the way back
const NARROW_WIDTH = 680; // below it there is no room for rates on the lines
const BOX_WIDTH_MAX = 240;
const LABEL_GAP = 8;
const BOX_PADDING = 8;
const LINE_HEIGHT = 14;
const RETURN_WIDTH_MAX = 3; // a way back is long, and would outshine the rest

// ---- where it is drawn ----

/** Puts boxes near the mean of what they are joined with, none over another. */
function place(boxes, wanted, bottom, heights) {
    const placed = boxes
        .map((box) => ({ box, y: wanted.get(box.key) ?? Infinity }))
        .sort((one, other) => one.y - other.y);
    let least = MARGIN + heights.box / 2;
    for (const each of placed) {
        each.y = Math.max(least, each.y === Infinity ? least : each.y);
        least = each.y + heights.row;
    }
    // What went below the ground is pushed up again; there is room for all of them.
    let most = bottom - MARGIN - heights.box / 2;
    for (const each of placed.reverse()) {
        each.y = Math.min(most, each.y);
        most = each.y - heights.row;
    }
    return new Map(placed.map(({ box, y }) => [box.key, y]));
}

function means(rows, ys, keyOf) {
    const sums = new Map();
    rows.forEach((row, at) => {
        const found = sums.get(keyOf(row)) ?? { total: 0, count: 0 };
        sums.set(keyOf(row), { total: found.total + ys[at], count: found.count + 1 });
    });
    return new Map([...sums].map(([key, { total, count }]) => [key, total / count]));
}

function layout(graph, width) {
    const { rows, resources, guests, returns } = graph;
    const isNarrow = width < NARROW_WIDTH;
    const gutter = returns.length > 0 ? GUTTER : 0;
    const inner = width - 2 * MARGIN - 2 * gutter;
    const heights = isNarrow ? HEIGHTS.narrow : HEIGHTS.wide;
    const boxWidth = Math.min(BOX_WIDTH_MAX, Math.floor(inner * (isNarrow ? 0.3 : 0.2)));
    const longest = Math.max(rows.length, resources.length, guests.length, 1);
    const bottom = 2 * MARGIN + heights.box + (longest - 1) * heights.row;
    const first = MARGIN + heights.box / 2 + ((longest - rows.length) * heights.row) / 2;
    const ys = rows.map((row, at) => first + at * heights.row);
    return {
        isNarrow,
        heights,
        boxWidth,
        width,
        bottom,
        gutter,
        height: bottom + returns.length * RETURN_HEIGHT + (returns.length > 0 ? MARGIN : 0),
        left: MARGIN + gutter,
        middle: (width - boxWidth) / 2,
        right: width - MARGIN - gutter - boxWidth,
        rowY: ys,
        resourceY: place(
            resources,
            means(rows, ys, (row) => row.resource),
            bottom,
            heights,
        ),
        guestY: place(
            guests,
            means(rows, ys, (row) => row.guest),
            bottom,
            heights,
        ),
    };
}

/** A line from one box to the next: level at both ends. */
function curve(x1, y1, x2, y2) {
    const half = (x2 - x1) / 2;
    return `M${x1} ${y1.toFixed(1)}C${x1 + half} ${y1.toFixed(1)} ${x2 - half} ${y2.toFixed(1)} ${x2} ${y2.toFixed(1)}`;
}

function lineWidth(rate) {
    return rate > 0 ? Number((1 + 1.4 * Math.log10(1 + rate)).toFixed(1)) : 1;
}

// ---- the texts in boxes ----

const measuring = document.createElement("canvas").getContext("2d");
const fitted = new Map();
const FITTED_MAX = 5000;

/** As much of the text as fits, and then an ellipsis. */
function fit(text, width, font) {
    const key = `${font}|${width}|${text}`;
    const known = fitted.get(key);
    if (known !== undefined) {
        return known;
    }
    measuring.font = font;
    let shown = text;
    while (shown.length > 1 && measuring.measureText(shown).width > width) {
        shown = `${shown.slice(0, shown.endsWith("…") ? -2 : -1).trimEnd()}…`;
    }
    if (fitted.size >= FITTED_MAX) {
        fitted.clear();
    }
    fitted.set(key, shown);
    return shown;
}

// ---- the drawing ----

/** The text in two lines, broken behind a mark between words where there is one. */
function inTwo(text, width, font) {
    const first = fit(text, width, font);
    if (first === text) {
        return [text, ""];
    }
    const most = first.length - 1; // without the ellipsis
    const mark = text.slice(0, most).search(/[^\p{L}\p{N}][\p{L}\p{N}]*$/u);
    const at = mark > 2 ? mark + 1 : most;
    return [text.slice(0, at).trimEnd(), fit(text.slice(at).trimStart(), width, font)];
}

/** A box with a name and a line below it; a link to what it stands for. */
class Box {
    #rect;
    #lines;
    #title = draw("title");
    #width; // for text

    constructor(kind, x, y, { boxWidth, heights, isNarrow }) {
        this.#width = boxWidth - 2 * BOX_PADDING;
        this.#rect = draw("rect", { width: boxWidth, height: heights.box, rx: 5 });
        this.#lines = (
            isNarrow ? ["box-name", "box-name", "box-detail"] : ["box-name", "box-detail"]
        ).map((css, at) => draw("text", { class: css, x: BOX_PADDING, y: 17 + at * LINE_HEIGHT }));
        this.node = draw(
            "a",
            { class: `box is-${kind}`, transform: `translate(${x} ${y - heights.box / 2})` },
            this.#title,
            this.#rect,
            ...this.#lines,
        );
    }

    update({ href, name, detail, health, label }, font) {
        const { tone, mark } = HEALTH[health];
        const needsEyes = NEEDS_EYES.has(health);
        const shown = needsEyes ? `${mark} ${name}` : name;
        const names =
            this.#lines.length === 3
                ? inTwo(shown, this.#width, font.name)
                : [fit(shown, this.#width, font.name)];
        setAttribute(this.node, "href", href);
        setAttribute(this.node, "aria-label", label);
        setAttribute(this.#rect, "class", needsEyes ? `box-body ${tone}` : "box-body");
        setText(this.#title, label);
        // A short name leaves the last line empty, not the middle one.
        const texts = [...names, fit(detail, this.#width, font.detail)].filter(
            (text) => text !== "",
        );
        this.#lines.forEach((line, at) => {
            setText(line, texts[at] ?? "");
            setAttribute(
                line,
                "class",
                at < Math.max(1, texts.length - 1) ? "box-name" : "box-detail",
            );
        });
    }
}

/** A line with its rate. */
class Line {
    #path;
    #label = draw("text", { class: "rate" });
    #widthMax;

    constructor(d, label, widthMax = Infinity) {
        this.#widthMax = widthMax;
        this.#path = draw("path", { d, fill: "none" });
        this.node = draw("g", { "aria-hidden": "true" }, this.#path);
        this.text = label ? draw("g", { "aria-hidden": "true" }, this.#label) : null;
        if (label) {
            setAttribute(this.#label, "x", label.x);
            setAttribute(this.#label, "y", label.y.toFixed(1));
            setAttribute(this.#label, "text-anchor", label.anchor);
        }
    }

    update(rate, tone, text) {
        setAttribute(this.#path, "class", `line ${tone}${rate > 0 ? "" : " is-still"}`);
        setAttribute(this.#path, "stroke-width", Math.min(this.#widthMax, lineWidth(rate ?? 0)));
        setAttribute(this.#label, "class", `rate ${tone}`);
        setText(this.#label, text);
    }
}

export class Picture {
    #host;
    #note;
    #list;
    #shape = ""; // of what is drawn: the boxes and the width
    #parts = null;
    #font = null;
    #focusAgain = null; // the address of the box that had the focus before it was drawn anew

    constructor() {
        this.#host = byId("picture");
        this.#note = byId("picture-note");
        this.#list = byId("picture-list");
    }

    update(model) {
        const width = Math.floor(this.#host.clientWidth);
        if (width === 0) {
            return; // not shown
        }
        const graph = graphOf(model);
        const shape = JSON.stringify([
            width,
            graph.rows.map((each) => [each.key, each.resource, each.guest]),
            graph.resources.map((each) => each.key),
            graph.guests.map((each) => each.key),
            graph.returns.map((each) => [each.resource, each.guests]),
        ]);
        if (shape !== this.#shape) {
            this.#shape = shape;
            this.#drawAnew(graph, width);
        }
        this.#set(graph);
        setText(this.#note, graph.note);
        if (byId("picture-text").open) {
            this.#setList(graph);
        }
    }

    #drawAnew(graph, width) {
        const style = getComputedStyle(this.#host);
        this.#font = { name: `600 12px ${style.fontFamily}`, detail: `11px ${style.fontFamily}` };
        this.#parts = this.#makeParts(graph, layout(graph, width));
        const isFocused = this.#host.contains(document.activeElement);
        this.#focusAgain = isFocused ? document.activeElement.getAttribute("href") : null;
        this.#host.replaceChildren(this.#assemble(this.#parts));
    }

    /** Every box and line, in no document yet. `at` is the layout. */
    #makeParts(graph, at) {
        const boxesOf = (kind, list, x, ys) =>
            new Map(list.map((each) => [each.key, new Box(kind, x, ys.get(each.key), at)]));
        const parts = {
            at,
            into: [],
            out: [],
            rows: [],
            resources: boxesOf("resource", graph.resources, at.left, at.resourceY),
            guests: boxesOf("guest", graph.guests, at.right, at.guestY),
            ways: graph.returns.map((each, number) => this.#drawReturn(each, number, at)),
        };
        graph.rows.forEach((row, number) => this.#drawRow(row, at.rowY[number], at, parts));
        return parts;
    }

    #assemble({ at, into, out, rows, resources, guests, ways }) {
        const lines = [...into, ...out, ...ways];
        // In this order they are reached by the keyboard.
        const boxes = [...resources.values(), ...rows, ...guests.values()];
        return draw(
            "svg",
            {
                class: "picture",
                viewBox: `0 0 ${at.width} ${at.height}`,
                width: at.width,
                height: at.height,
                role: "group",
                "aria-labelledby": "overview-title",
            },
            this.#arrow(),
            ...lines.map((line) => line.node),
            ...boxes.map((box) => box.node),
            ...lines.map((line) => line.text),
        );
    }

    #arrow() {
        return draw(
            "defs",
            {},
            draw(
                "marker",
                {
                    id: "arrow",
                    viewBox: "0 0 8 8",
                    refX: 7,
                    refY: 4,
                    markerWidth: 8,
                    markerHeight: 8,
                    markerUnits: "userSpaceOnUse",
                    orient: "auto",
                },
                draw("path", { d: "M0 0.5L8 4L0 7.5Z", class: "arrow" }),
            ),
        );
    }

    #drawRow(row, y, at, parts) {
        const end = at.middle + at.boxWidth;
        const label = (x, anchor) => (at.isNarrow ? null : { x, y: y - 7, anchor });
        const from = at.resourceY.get(row.resource);
        parts.into.push(
            new Line(
                from === undefined ? "" : curve(at.left + at.boxWidth, from, at.middle, y),
                label(at.middle - LABEL_GAP, "end"),
            ),
        );
        const to = at.guestY.get(row.guest);
        parts.out.push(
            new Line(
                to === undefined ? "" : curve(end, y, at.right, to),
                label(end + LABEL_GAP, "start"),
            ),
        );
        parts.rows.push(new Box("subscription", at.middle, y, at));
    }

    /** Out of its guests on the right, below everything, and into the resource on the left. */
    #drawReturn(each, number, at) {
        const y = at.bottom + RETURN_HEIGHT * (number + 0.5) + MARGIN;
        const out =
            at.width - MARGIN - at.gutter * (0.15 + 0.6 * ((number + 1) / (RETURNS_MAX + 1)));
        const back = MARGIN + at.gutter * (0.15 + 0.6 * ((number + 1) / (RETURNS_MAX + 1)));
        const target = at.resourceY.get(each.resource);
        const starts = each.guests
            .map((guest) => at.guestY.get(guest))
            .filter((start) => start !== undefined)
            .map((start) => `M${at.right + at.boxWidth} ${start}H${out}V${y}`);
        const line = new Line(
            `${starts.join("")}M${out} ${y}H${back}V${target}H${at.left}`,
            { x: at.width / 2, y: y - 5, anchor: "middle" },
            RETURN_WIDTH_MAX,
        );
        line.node.classList.add("way-back");
        return line;
    }

    #set(graph) {
        const { at, into, out, rows, resources, guests, ways } = this.#parts;
        graph.rows.forEach((row, number) => {
            const tone = NEEDS_EYES.has(row.health) ? HEALTH[row.health].tone : "is-flowing";
            const isAway = row.health === "away";
            into[number].update(
                row.received,
                isAway || row.health === "lagging" ? "is-lagging" : "is-flowing",
                format.rate(row.received),
            );
            out[number].update(
                row.delivered,
                row.health === "failing" ? "is-failing" : "is-flowing",
                row.failed > 0
                    ? `${format.rate(row.delivered)}, ${format.rate(row.failed)} fail`
                    : format.rate(row.delivered),
            );
            rows[number].update(
                { ...row, detail: this.#detail(row, at.isNarrow), label: sentence(row), tone },
                this.#font,
            );
        });
        graph.resources.forEach((each) => resources.get(each.key).update(each, this.#font));
        graph.guests.forEach((each) => guests.get(each.key).update(each, this.#font));
        graph.returns.forEach((each, number) => {
            ways[number].update(
                each.rate,
                each.error ? "is-failing" : "is-flowing",
                `${format.rate(each.rate)} returned to ${each.resource}` +
                    (each.error ? `: ${each.error}` : "") +
                    (each.waiting > 0 ? `, ${format.count(each.waiting)} waiting` : ""),
            );
        });
        if (this.#focusAgain) {
            this.#host.querySelector(`[href="${CSS.escape(this.#focusAgain)}"]`)?.focus();
            this.#focusAgain = null;
        }
    }

    #detail(row, isNarrow) {
        const lag = row.lag > 0 && NEEDS_EYES.has(row.health) ? `lag ${format.count(row.lag)}` : "";
        return [isNarrow ? format.rate(row.delivered) : row.detail, lag].filter(Boolean).join(", ");
    }

    #setList(graph) {
        const texts = [
            ...graph.rows.map(sentence),
            ...graph.returns.map(
                (each) =>
                    `${each.guests.join(", ")} return ${format.rate(each.rate)} to ${each.resource}`,
            ),
        ];
        while (this.#list.children.length > texts.length) {
            this.#list.lastChild.remove();
        }
        texts.forEach((text, at) => {
            if (at >= this.#list.children.length) {
                this.#list.append(make("li"));
            }
            setText(this.#list.children[at], text);
        });
    }
}

// SPDX-License-Identifier: Apache-2.0
//
// The table of subscriptions. There are rows for what is in sight only, and they are used again for
// other subscriptions as the table scrolls: 10,000 cost what 40 cost. Two empty rows stand for what
// is above and below, and aria-rowcount and aria-rowindex say where one is.
//
// Sorted by what changes every second, rows would run away from who wants to click one: the order is
// held while the pointer or the focus is on a row.

import { byId, calmly, make, setAttribute, setText } from "/dom.js";
import * as format from "/format.js";
import { HEALTH } from "/model.js";
import { Spark } from "/spark.js";

const ROW_HEIGHT = 30; // as in the style sheet
const ROWS_BEYOND = 8; // above and below what is in sight
const FILTER_MS = 120;

const COLUMNS = [
    {
        key: "health",
        text: "State",
        css: "c-state",
        value: (each) => HEALTH[each.health].rank,
        isFalling: true,
    },
    { key: "name", text: "Subscription", css: "c-subscription", value: (each) => each.name },
    {
        key: "resource",
        text: "Resource",
        css: "c-resource",
        value: (each) => each.status.resource ?? "",
    },
    { key: "guest", text: "Guest", css: "c-guest", value: (each) => each.status.guest ?? "" },
    {
        key: "handled",
        text: "Handled",
        css: "c-rate number",
        value: (each) => each.rates.handled ?? 0,
        isFalling: true,
    },
    { text: "Last 2 min", css: "c-spark" },
    {
        key: "failed",
        text: "Failed",
        css: "c-failed number",
        value: (each) => each.rates.failed ?? 0,
        isFalling: true,
    },
    {
        key: "lag",
        text: "Lag",
        css: "c-lag number",
        value: (each) => each.status.lag_events ?? 0,
        isFalling: true,
    },
    { text: "Lag, 2 min", css: "c-lagspark" },
    {
        key: "oldest",
        text: "Oldest",
        css: "c-oldest number",
        value: (each) => each.status.oldest_age_ms ?? 0,
        isFalling: true,
    },
    {
        key: "retrying",
        text: "Retrying",
        css: "c-retrying number",
        value: (each) => each.status.retrying_keys ?? 0,
        isFalling: true,
    },
    {
        key: "dead",
        text: "Dead",
        css: "c-dead number",
        value: (each) => each.status.dead_total ?? 0,
        isFalling: true,
    },
];

/** "name resource:x guest:y is:failing" as a test of a subscription. All words must fit. */
function filterOf(text) {
    // A name with spaces stands between quotes.
    const found = text.toLowerCase().match(/(?:[^\s"]|"[^"]*"?)+/g) ?? [];
    const words = found.map((word) => word.replaceAll('"', ""));
    const has = (value, part) =>
        String(value ?? "")
            .toLowerCase()
            .includes(part);
    const tests = words.map((word) => {
        const [, field, value] = word.match(/^(resource|guest|is):(.*)$/) ?? [];
        switch (field) {
            case "resource":
                return (each) => String(each.status.resource ?? "").toLowerCase() === value;
            case "guest":
                return (each) => String(each.status.guest ?? "").toLowerCase() === value;
            case "is":
                return (each) => each.health === value;
            default:
                return (each) =>
                    has(each.name, word) ||
                    has(each.status.resource, word) ||
                    has(each.status.guest, word) ||
                    has(each.status.key, word);
        }
    });
    return (each) => tests.every((test) => test(each));
}

class Row {
    #cells = COLUMNS.map(({ css }) => make("td", { class: css }));
    #link = make("a", {});
    #handled = new Spark(110, 20, "is-flowing");
    #lag = new Spark(70, 20, "is-lagging");
    #mark = make("span", { class: "mark", "aria-hidden": "true" });
    #state = make("span", { class: "state-text" });
    node = make("tr");

    constructor() {
        const [state, name, , , , spark, , , lag] = this.#cells;
        state.append(this.#mark, this.#state);
        // The name is what a row is called by.
        const head = make("th", { class: name.className, scope: "row" }, this.#link);
        this.#cells[1] = head;
        spark.append(this.#handled.node);
        lag.append(this.#lag.node);
        this.node.append(...this.#cells);
    }

    update(each, index) {
        const { status, rates, history } = each;
        const [state, , resource, guest, handled, , failed, lag, , oldest, retrying, dead] =
            this.#cells;
        const health = HEALTH[each.health];
        setAttribute(this.node, "aria-rowindex", index + 2); // the head is the first
        setAttribute(state, "class", `c-state ${health.tone}`);
        setText(this.#mark, health.mark);
        setText(this.#state, health.text);
        setText(this.#link, each.name);
        setAttribute(this.#link, "href", `#subscription/${encodeURIComponent(each.name)}`);
        setAttribute(this.#link, "title", each.name);
        setText(resource, status.resource ?? "–");
        setText(guest, status.guest ?? "–");
        setText(handled, format.rate(rates.handled));
        this.#handled.update(history.handled, history.failed);
        setText(failed, rates.failed > 0 ? format.rate(rates.failed) : "0");
        setAttribute(
            failed,
            "class",
            `c-failed number ${rates.failed > 0 ? "is-failing" : "is-zero"}`,
        );
        setText(lag, format.count(status.lag_events));
        this.#lag.update(history.lag, null);
        setText(oldest, status.oldest_age_ms > 0 ? format.age(status.oldest_age_ms / 1000) : "–");
        setText(retrying, format.count(status.retrying_keys));
        setAttribute(
            retrying,
            "class",
            `c-retrying number ${status.retrying_keys > 0 ? "is-failing" : "is-zero"}`,
        );
        setText(dead, format.count(status.dead_total));
    }
}

export class Table {
    #model;
    #scroll = byId("table-scroll");
    #filter = byId("table-filter");
    #count = byId("table-count");
    #body = make("tbody");
    // One cell: one that spans columns would bring back those that a narrow page leaves out.
    #above = make("tr", { class: "space", "aria-hidden": "true" }, make("td"));
    #below = make("tr", { class: "space", "aria-hidden": "true" }, make("td"));
    #heads = [];
    #rows = []; // those that are in the document
    #order = []; // the subscriptions that the filter lets through, sorted
    #column = COLUMNS[0];
    #isFalling = true;

    constructor(model) {
        this.#model = model;
        byId("table").append(this.#head(), this.#body);
        this.#body.append(this.#above, this.#below);
        this.#scroll.addEventListener("scroll", () => this.#draw(), { passive: true });
        new ResizeObserver(() => this.#draw()).observe(this.#scroll);
        this.#filter.addEventListener(
            "input",
            calmly(() => {
                history.replaceState(
                    null,
                    "",
                    this.#filter.value
                        ? `#subscriptions?q=${encodeURIComponent(this.#filter.value)}`
                        : "#subscriptions",
                );
                this.#scroll.scrollTop = 0;
                this.#sort();
                this.#draw();
            }, FILTER_MS),
        );
    }

    show(values) {
        this.#filter.value = values.get("q") ?? "";
        this.#sort();
        this.#draw();
    }

    tick() {
        if (!this.#isHeld()) {
            this.#sort();
        }
        this.#draw();
    }

    #isHeld() {
        return this.#body.matches(":hover") || this.#body.contains(document.activeElement);
    }

    #head() {
        const row = make("tr", { "aria-rowindex": 1 });
        for (const column of COLUMNS) {
            const head = make("th", { scope: "col", class: column.css });
            if (column.key) {
                const button = make("button", { type: "button", class: "sort", text: column.text });
                button.addEventListener("click", () => this.#sortBy(column));
                head.append(button);
                this.#heads.push([column, head]);
            } else {
                head.append(column.text);
            }
            row.append(head);
        }
        return make("thead", {}, row);
    }

    #sortBy(column) {
        this.#isFalling = this.#column === column ? !this.#isFalling : Boolean(column.isFalling);
        this.#column = column;
        this.#sort();
        this.#draw();
    }

    #sort() {
        const { value } = this.#column;
        const sign = this.#isFalling ? -1 : 1;
        const fits = filterOf(this.#filter.value);
        this.#order = [...this.#model.subscriptions.values()].filter(fits).sort((one, other) => {
            const left = value(one);
            const right = value(other);
            const order = typeof left === "string" ? left.localeCompare(right) : left - right;
            return order * sign || one.name.localeCompare(other.name);
        });
        for (const [column, head] of this.#heads) {
            setAttribute(
                head,
                "aria-sort",
                column === this.#column ? (this.#isFalling ? "descending" : "ascending") : null,
            );
        }
    }

    #draw() {
        // What has ended since it was sorted is gone.
        const order = this.#order.filter(
            (each) => this.#model.subscriptions.get(each.name) === each,
        );
        const all = this.#model.subscriptions.size;
        setText(this.#count, order.length === all ? `${all} in all` : `${order.length} of ${all}`);
        setAttribute(byId("table"), "aria-rowcount", order.length + 1);
        const height = this.#scroll.clientHeight;
        if (height === 0) {
            return; // not shown
        }
        const first = Math.max(
            0,
            Math.min(
                Math.floor(this.#scroll.scrollTop / ROW_HEIGHT) - ROWS_BEYOND,
                order.length - 1,
            ),
        );
        const last = Math.min(
            order.length,
            first + Math.ceil(height / ROW_HEIGHT) + 2 * ROWS_BEYOND,
        );
        this.#fit(last - first);
        this.#space(this.#above, first);
        this.#space(this.#below, order.length - last);
        this.#rows.forEach((row, at) => row.update(order[first + at], first + at));
    }

    /** As many rows as that. */
    #fit(wanted) {
        while (this.#rows.length > Math.max(0, wanted)) {
            this.#rows.pop().node.remove();
        }
        while (this.#rows.length < wanted) {
            const row = new Row();
            this.#rows.push(row);
            this.#below.before(row.node);
        }
    }

    #space(row, rows) {
        row.hidden = rows <= 0;
        row.firstChild.style.height = `${Math.max(0, rows) * ROW_HEIGHT}px`;
    }
}

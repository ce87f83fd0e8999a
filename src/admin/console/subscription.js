// SPDX-License-Identifier: Apache-2.0
//
// One subscription: its numbers, the last two minutes, and how long its handler takes.

import { byId, make, panel, setText } from "/dom.js";
import * as format from "/format.js";
import { Histogram } from "/histogram.js";
import { HEALTH } from "/model.js";
import { Spark } from "/spark.js";

const HISTOGRAMS_MS = 2000; // from one look at them to the next

const FACTS = [
    [
        "State",
        (each) =>
            `${HEALTH[each.health].text}${each.status.state ? ` (${each.status.state})` : ""}`,
    ],
    ["Resource", (each) => each.status.resource],
    ["Key", (each) => each.status.key],
    ["Guest", (each) => each.status.guest],
    ["Handler", (each) => each.status.handler],
    ["Returned events go to", (each) => each.status.to],
    ["Cursor", (each) => each.status.cursor],
];

const NUMBERS = [
    ["Handled", (each) => format.rate(each.rates.handled)],
    ["Failed", (each) => format.rate(each.rates.failed), (each) => each.rates.failed > 0],
    ["Lag", (each) => format.plural(each.status.lag_events ?? 0, "event")],
    ["Oldest waits", (each) => format.age((each.status.oldest_age_ms ?? 0) / 1000)],
    ["In flight", (each) => format.count(each.status.in_flight_events)],
    [
        "Retrying keys",
        (each) => format.count(each.status.retrying_keys),
        (each) => each.status.retrying_keys > 0,
    ],
];

const TOTALS = [
    ["received", "received_total"],
    ["delivered", "delivered_total"],
    ["handled", "handled_total"],
    ["failed attempts", "failed_attempts_total"],
    ["retried", "retried_total"],
    ["trapped", "trapped_total"],
    ["cut", "cut_total"],
    ["repeated", "repeated_total"],
    ["dead", "dead_total"],
    ["dropped", "dropped_total"],
    ["derived", "derived_total"],
];

function pair(...children) {
    return make("div", { class: "pair" }, ...children);
}

/** Rows of a <dl> whose values are set again each second. */
class Facts {
    #rows;

    constructor(css, rows) {
        this.#rows = rows.map(([name, of, isBad]) => ({ name, of, isBad, value: make("dd") }));
        this.node = make(
            "dl",
            { class: css },
            ...this.#rows.map(({ name, value }) =>
                make("div", {}, make("dt", { text: name }), value),
            ),
        );
    }

    update(each) {
        for (const { of, isBad, value } of this.#rows) {
            setText(value, of(each) ?? "–");
            value.className = isBad?.(each) ? "is-failing" : "";
        }
    }
}

export class SubscriptionView {
    #api;
    #model;
    #name = "";
    #ending = null; // of the asking for histograms
    #parts = null;

    constructor(api, model) {
        this.#api = api;
        this.#model = model;
    }

    show(values, [name]) {
        this.#name = name ?? "";
        byId("subscription-title").textContent = this.#name;
        this.#build();
        this.tick();
        this.#ending = new AbortController();
        this.#ask(this.#ending.signal);
    }

    hide() {
        this.#ending?.abort();
    }

    tick() {
        const each = this.#model.subscriptions.get(this.#name);
        const { gone, all, facts, numbers, totals, handled, lag, handledTop, lagTop, problem } =
            this.#parts;
        gone.hidden = Boolean(each) || this.#model.status === null;
        all.hidden = !each;
        if (!each) {
            return;
        }
        facts.update(each);
        numbers.update(each);
        totals.update(each);
        setText(
            handledTop,
            `top ${format.rate(handled.update(each.history.handled, each.history.failed))}`,
        );
        setText(lagTop, `top ${format.count(lag.update(each.history.lag, null))}`);
        const error = each.status.last_error;
        problem.hidden = !error;
        setText(problem, error ? `Last error, ${format.moment(error.time)}: ${error.message}` : "");
    }

    #build() {
        const parts = {
            handled: new Spark(480, 72, "is-flowing is-large"),
            lag: new Spark(480, 72, "is-lagging is-large"),
            handledTop: make("span", { class: "note" }),
            lagTop: make("span", { class: "note" }),
            facts: new Facts("facts", FACTS),
            numbers: new Facts("figures", NUMBERS),
            totals: new Facts(
                "totals",
                TOTALS.map(([text, key]) => [text, (each) => format.count(each.status[key])]),
            ),
            problem: make("p", { class: "problem", hidden: true }),
            handler: new Histogram("Handler time", "How long a call of the handler took."),
            event: new Histogram(
                "Event time",
                "From intake to settled: waiting, attempts and pauses between them.",
            ),
            gone: make("p", {
                class: "empty",
                hidden: true,
                text: `There is no subscription ${this.#name} just now.`,
            }),
        };
        parts.all = make(
            "div",
            {},
            parts.numbers.node,
            parts.problem,
            this.#links(),
            pair(
                panel(["Handled and failed, 2 min ", parts.handledTop], parts.handled.node),
                panel(["Lag, 2 min ", parts.lagTop], parts.lag.node),
            ),
            pair(parts.handler.node, parts.event.node),
            pair(
                panel("What it is", parts.facts.node),
                panel("Since weir started", parts.totals.node),
            ),
        );
        this.#parts = parts;
        byId("subscription-body").replaceChildren(parts.gone, parts.all);
    }

    #links() {
        const name = encodeURIComponent(this.#name);
        return make(
            "p",
            { class: "links" },
            make("a", { href: `#tail?subscription=${name}`, text: "Live tail of it" }),
            make("a", { href: `#letters?subscription=${name}`, text: "Its dead letters" }),
        );
    }

    async #ask(signal) {
        const parts = this.#parts;
        while (!signal.aborted) {
            if (!document.hidden) {
                try {
                    const found = await this.#api.get(
                        "/api/histograms",
                        { subscription: this.#name },
                        signal,
                    );
                    if (!signal.aborted) {
                        parts.handler.update(found.handler);
                        parts.event.update(found.event);
                    }
                } catch {
                    // The banner says that weir does not answer; a subscription that is gone is said above.
                }
            }
            await new Promise((resolve) => {
                setTimeout(resolve, HISTOGRAMS_MS);
            });
        }
    }
}

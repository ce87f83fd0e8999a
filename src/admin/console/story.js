// SPDX-License-Identifier: Apache-2.0
//
// The story of one event: each attempt with what the guest printed, what was derived from it, the
// dead letters it became, its cause and its trace. weir keeps the last events only, and a sample
// where there are many; what it does not know any more is said to be unknown, not to be none.

import { byId, copyButton, factsOf, make, panel, printed } from "/dom.js";
import * as format from "/format.js";
import { outcomeBadge, storyHref } from "/tail.js";

const AGAIN_MS = 2000;
const SOURCES_MAX = 200; // of events that were seen here

function attempt(each) {
    return make(
        "li",
        {
            class: `attempt ${each.outcome === "handled" || each.outcome === "derived" ? "is-flowing" : "is-failing"}`,
        },
        make(
            "p",
            { class: "attempt-head" },
            make("b", { text: `Attempt ${each.attempt}` }),
            outcomeBadge(each.outcome),
            make("span", { class: "number", text: format.took(each.took_ns / 1e9) }),
            make("time", { datetime: each.time, title: each.time, text: format.clock(each.time) }),
        ),
        make(
            "p",
            { class: "note" },
            make("a", {
                href: `#subscription/${encodeURIComponent(each.subscription)}`,
                text: each.subscription,
            }),
            ` → ${each.guest}${each.handler ? `, ${each.handler}` : ""}`,
        ),
        each.reason ? make("p", { class: "problem", text: each.reason }) : null,
        each.output ? printed(`Output of attempt ${each.attempt}`, each.output) : null,
    );
}

function derived(each) {
    return make(
        "li",
        {},
        make("a", { href: storyHref(each), text: each.id }),
        " ",
        each.outcome ? outcomeBadge(each.outcome) : null,
        " ",
        make("span", {
            class: "note",
            text: [
                each.type,
                each.subject,
                each.subscription ? `for ${each.subscription}` : "",
                each.time ? format.clock(each.time) : "",
            ]
                .filter(Boolean)
                .join(", "),
        }),
    );
}

function letter(each) {
    return make(
        "li",
        {},
        make("a", { href: `#letters/${each.id}`, text: `Letter ${each.id}` }),
        make("span", {
            class: "note",
            text: ` after ${format.plural(each.attempts, "attempt")}: ${each.reason}`,
        }),
    );
}

function listOr(list, item, none) {
    return list?.length
        ? make("ul", { class: "list" }, ...list.map(item))
        : make("p", { class: "note", text: none });
}

export class Story {
    #api;
    #source = byId("story-source");
    #id = byId("story-id");
    #body = byId("story-body");
    #ending = null;
    #last = "";
    #sources = new Map(); // by id: a cause is told by its id alone

    constructor(api) {
        this.#api = api;
        const go = () => {
            location.hash = storyHref({
                source: this.#source.value.trim(),
                id: this.#id.value.trim(),
            });
        };
        byId("story-show").addEventListener("click", go);
        for (const field of [this.#source, this.#id]) {
            field.addEventListener("keydown", (event) => event.key === "Enter" && go());
        }
    }

    show(values, [source, id]) {
        this.#ending?.abort();
        this.#last = "";
        if (!id) {
            this.#body.replaceChildren(
                make("p", {
                    class: "empty",
                    text: "A click on a line of the live tail or on a dead letter comes here. Or name an event by its source and id.",
                }),
            );
            return;
        }
        this.#source.value = source;
        this.#id.value = id;
        this.#body.replaceChildren();
        this.#ending = new AbortController();
        this.#ask({ source, id }, this.#ending.signal);
    }

    hide() {
        this.#ending?.abort();
    }

    tick() {}

    /** Again and again: a story may go on. */
    async #ask(event, signal) {
        while (!signal.aborted) {
            if (!document.hidden) {
                let story = null;
                let problem = "";
                try {
                    story = await this.#api.get("/api/story", event, signal);
                } catch (error) {
                    problem = error.message;
                }
                const text = problem || JSON.stringify(story);
                if (!signal.aborted && text !== this.#last) {
                    this.#last = text;
                    this.#body.replaceChildren(
                        ...(story
                            ? this.#story(story)
                            : [make("p", { class: "problem", text: problem })]),
                    );
                }
            }
            await new Promise((resolve) => {
                setTimeout(resolve, AGAIN_MS);
            });
        }
    }

    #story(story) {
        [story, ...(story.derived ?? [])].forEach((each) => this.#know(each));
        const attempts = story.attempts ?? [];
        const none = make("p", { class: "note", text: "weir knows of no attempt any more." });
        return [
            story.is_sampled
                ? make("p", {
                      class: "note is-lagging",
                      text: "weir keeps failures, and successes while somebody tails, and not for ever: attempts may be missing here.",
                  })
                : "",
            this.#facts(story, attempts),
            make(
                "div",
                { class: "pair" },
                panel(
                    "Attempts",
                    attempts.length
                        ? make("ol", { class: "timeline" }, ...attempts.map(attempt))
                        : none,
                ),
                make(
                    "div",
                    {},
                    panel(
                        "Derived events",
                        listOr(story.derived, derived, "None that weir knows of."),
                    ),
                    panel("Dead letters", listOr(story.dead_letters, letter, "None.")),
                ),
            ),
        ];
    }

    #facts(story, attempts) {
        const [first] = attempts;
        const trace = story.trace || attempts.find((each) => each.trace)?.trace;
        const copied = trace && [
            make("code", { id: "story-trace", text: trace }),
            " ",
            copyButton(trace, "the trace id"),
        ];
        return factsOf([
            ["Id", [story.id]],
            ["Source", [story.source]],
            ["Type", first && [first.type]],
            ["Subject", first?.subject && [first.subject]],
            ["Trace", copied],
            ["Caused by", story.cause && [this.#cause(story.cause)]],
        ]);
    }

    #know({ id, source }) {
        if (this.#sources.size >= SOURCES_MAX) {
            this.#sources.clear();
        }
        this.#sources.set(id, source);
    }

    /** A link, where it is known whose event that is. */
    #cause({ id, source = this.#sources.get(id) }) {
        return source === undefined
            ? make("span", { text: id })
            : make("a", { href: storyHref({ source, id }), text: id });
    }
}

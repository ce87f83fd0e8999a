// SPDX-License-Identifier: Apache-2.0
//
// Dead letters: the list, one of them to read, and what can be done with one or with those that are
// selected. Only who has the token may do anything; the others are told why not.
//
// The list comes in pages, the newest first. One that comes while somebody reads does not move the
// lines: the note says that there are new ones. After an act the focus goes to what is next.

import { announce, byId, calmly, factsOf, make, printed, setText } from "/dom.js";
import { bodyOf } from "/body.js";
import { ask } from "/dialogs.js";
import * as format from "/format.js";
import { storyHref } from "/tail.js";

const PAGE = 100; // letters of one request
const LETTERS_MAX = 2000; // in the list
const FILTER_MS = 300;
// What of an event is not shown as an attribute.
const BODY = new Set(["data", "data_base64", "specversion", "is_cut"]);

const ACTS = {
    retry: {
        verb: "Retry",
        done: "given to the handler again",
        yes: "Retry",
        isDanger: false,
        text: (what, it) =>
            `weir calls the handler with ${what} again, as the first attempt. If it fails once more, it comes back as a new letter. ${it}`,
    },
    remove: {
        verb: "Remove",
        done: "removed",
        yes: "Remove",
        isDanger: true,
        text: (what, it) => `${what} will not be delivered, and cannot be brought back. ${it}`,
    },
};

export class Letters {
    #api;
    #model;
    #access; // { why(): text, "" where changes are allowed }
    #filter = byId("letters-subscription");
    #lines = byId("letters-lines");
    #note = byId("letters-note");
    #article = byId("letter");
    #letters = []; // those of the list
    #selected = new Set(); // ids
    #next = null; // where the next page begins
    #open = null; // the id of the letter that is read
    #isActing = false;
    #stop = null; // ends a run of acts
    #loading = null; // ends the loading of the list
    #reading = null;
    #problem = "";
    #deadSeen = null; // how many there were when the list was loaded
    #isShown = false;

    constructor(api, model, access) {
        this.#api = api;
        this.#model = model;
        this.#access = access;
        this.#filter.addEventListener(
            "input",
            calmly(() => {
                this.#setAddress();
                this.#reload();
            }, FILTER_MS),
        );
        byId("letters-refresh").addEventListener("click", () => this.#reload());
        byId("letters-more").addEventListener("click", () => this.#load(this.#next));
        byId("letters-all").addEventListener("change", (event) =>
            this.#selectAll(event.target.checked),
        );
        byId("letters-retry").addEventListener("click", () => this.#actOnSelected("retry"));
        byId("letters-remove").addEventListener("click", () => this.#actOnSelected("remove"));
        byId("letters-stop").addEventListener("click", () => this.#stop?.abort());
    }

    /** Returns whether the focus goes to a letter, which may come a moment later. */
    show(values, [id], wantsFocus) {
        const subscription =
            values.get("subscription") ?? (this.#isShown ? this.#filter.value : "");
        const isSame = this.#isShown && subscription === this.#filter.value;
        this.#isShown = true;
        this.#filter.value = subscription;
        this.#read(id ? Number(id) : null, wantsFocus);
        if (!isSame) {
            this.#reload();
        }
        this.#showActs();
        return Boolean(id);
    }

    hide() {
        this.#isShown = false;
        this.#loading?.abort();
        this.#reading?.abort();
        // A run of acts goes on: who began it may look at something else meanwhile.
    }

    tick() {
        this.#showActs();
        const dead = this.#model.totals().dead;
        if (this.#deadSeen === null || this.#isActing) {
            this.#deadSeen = dead;
        } else if (dead > this.#deadSeen) {
            if (
                this.#selected.size === 0 &&
                byId("letters-scroll").scrollTop === 0 &&
                !this.#lines.contains(document.activeElement)
            ) {
                this.#reload();
            } else {
                this.#showNote(
                    `${format.count(dead - this.#deadSeen)} new since; Refresh shows them`,
                );
            }
        } else {
            this.#deadSeen = dead; // another weir counts anew
        }
    }

    // ---- the list ----

    #setAddress() {
        const query = this.#filter.value
            ? `?subscription=${encodeURIComponent(this.#filter.value)}`
            : "";
        history.replaceState(null, "", `#letters${this.#open ? `/${this.#open}` : ""}${query}`);
    }

    async #reload() {
        this.#deadSeen = this.#model.totals().dead;
        await this.#load(null);
    }

    async #load(before) {
        this.#loading?.abort();
        this.#loading = new AbortController();
        const { signal } = this.#loading;
        try {
            const page = await this.#api.get(
                "/api/dead-letters",
                { subscription: this.#filter.value, before, limit: PAGE },
                signal,
            );
            this.#letters =
                before === null ? page.dead_letters : [...this.#letters, ...page.dead_letters];
            this.#next = this.#letters.length < LETTERS_MAX ? page.next : null;
            this.#problem = "";
        } catch (error) {
            if (signal.aborted) {
                return;
            }
            this.#problem = error.message;
        }
        this.#draw();
    }

    #draw() {
        const ids = new Set(this.#letters.map((each) => each.id));
        this.#selected = new Set([...this.#selected].filter((id) => ids.has(id)));
        // A line that stays is the same line, so that the focus stays on it.
        const known = new Map(
            [...this.#lines.children].map((line) => [Number(line.dataset.id), line]),
        );
        this.#lines.replaceChildren(
            ...this.#letters.map((each) => known.get(each.id) ?? this.#line(each)),
        );
        byId("letters-empty").hidden = this.#letters.length > 0 || this.#problem !== "";
        byId("letters-more").hidden = this.#next === null;
        this.#showNote("");
        this.#showSelection();
    }

    #line(letter) {
        const check = make("input", {
            type: "checkbox",
            "aria-label": `Select letter ${letter.id}`,
        });
        check.addEventListener("change", () => {
            this.#selected[check.checked ? "add" : "delete"](letter.id);
            this.#showSelection();
        });
        const cell = (css, text) => make("td", { class: css, title: text, text });
        const line = make(
            "tr",
            { "data-id": letter.id },
            make("td", { class: "c-check" }, check),
            make(
                "td",
                { class: "c-id number" },
                make("a", {
                    href: `#letters/${letter.id}`,
                    text: `${letter.id}`,
                    "aria-label": `Letter ${letter.id}`,
                }),
            ),
            make("td", { class: "c-time", title: letter.time, text: format.moment(letter.time) }),
            cell("c-subscription", letter.subscription),
            cell("c-key", letter.event.subject ?? ""),
            cell("c-reason", letter.reason),
            cell("c-attempts number", format.count(letter.attempts)),
            cell("c-size number", format.bytes(letter.bytes)),
        );
        line.addEventListener("click", (event) => {
            if (!event.target.closest("a, input") && String(getSelection()) === "") {
                location.hash = `#letters/${letter.id}`;
            }
        });
        return line;
    }

    #showNote(more) {
        const all = this.#next === null ? "" : ", and older ones";
        setText(
            this.#note,
            this.#problem ||
                [`${this.#letters.length} shown${all}`, more].filter(Boolean).join("; "),
        );
        this.#note.classList.toggle("is-failing", this.#problem !== "");
    }

    #selectAll(isChecked) {
        this.#selected = new Set(isChecked ? this.#letters.map((each) => each.id) : []);
        this.#showSelection();
    }

    #showSelection() {
        for (const line of this.#lines.children) {
            const id = Number(line.dataset.id);
            line.querySelector("input").checked = this.#selected.has(id);
            line.classList.toggle("is-open", id === this.#open);
        }
        const all = byId("letters-all");
        all.checked = this.#selected.size > 0 && this.#selected.size === this.#letters.length;
        all.indeterminate = this.#selected.size > 0 && !all.checked;
        this.#showActs();
    }

    /** Which buttons may be pressed, and why not. */
    #showActs() {
        const why = this.#access.why();
        const size = this.#selected.size;
        setText(
            byId("letters-why"),
            why || (size === 0 ? "Select letters to act on several at once." : `${size} selected`),
        );
        for (const act of ["retry", "remove"]) {
            byId(`letters-${act}`).disabled = why !== "" || size === 0 || this.#isActing;
            const one = byId(`letter-${act}`);
            if (one) {
                one.disabled = why !== "" || this.#isActing;
                setText(byId("letter-why"), why);
            }
        }
    }

    // ---- one letter ----

    async #read(id, wantsFocus) {
        this.#open = id;
        this.#reading?.abort();
        this.#reading = new AbortController();
        const { signal } = this.#reading;
        byId("letters-split").classList.toggle("is-open", id !== null);
        this.#showSelection();
        if (id === null) {
            this.#article.hidden = true;
            return;
        }
        try {
            const letter = await this.#api.get(`/api/dead-letters/${id}`, {}, signal);
            if (!signal.aborted) {
                this.#drawLetter(letter);
            }
        } catch (error) {
            if (!signal.aborted) {
                this.#article.replaceChildren(
                    make("h3", { id: "letter-title", tabindex: "-1", text: `Letter ${id}` }),
                    make("p", { class: "problem", text: error.message }),
                    this.#close(),
                );
                this.#article.hidden = false;
            }
        }
        if (wantsFocus && !signal.aborted) {
            byId("letter-title").focus();
        }
    }

    #close() {
        return make("a", {
            href: this.#filter.value
                ? `#letters?subscription=${encodeURIComponent(this.#filter.value)}`
                : "#letters",
            class: "close",
            text: "Close",
        });
    }

    #drawLetter(letter) {
        const { event, output } = letter;
        this.#article.replaceChildren(
            make(
                "div",
                { class: "panel-head" },
                make("h3", { id: "letter-title", tabindex: "-1", text: `Letter ${letter.id}` }),
                this.#close(),
            ),
            make("p", { class: "problem", text: letter.reason }),
            make(
                "div",
                { class: "buttons is-left" },
                this.#actButton(letter, "retry", "primary"),
                this.#actButton(letter, "remove", "danger"),
                make("a", { href: storyHref(event), text: "Story of this event" }),
            ),
            make("p", { class: "note", id: "letter-why" }),
            this.#facts(letter),
            ...bodyOf(event, event.is_cut),
            make("h4", { text: "Output of the guest" }),
            output
                ? printed("Output of the guest", output)
                : make("p", { class: "note", text: "It printed nothing." }),
        );
        this.#article.hidden = false;
        this.#showActs();
    }

    #actButton(letter, act, css) {
        return make("button", {
            type: "button",
            id: `letter-${act}`,
            class: css,
            text: ACTS[act].verb,
            "aria-describedby": "letter-why",
            onclick: () => this.#actOnOne(letter, act),
        });
    }

    /** What is known of the letter, then the event's attributes under their own names. */
    #facts(letter) {
        const attributes = Object.entries(letter.event).filter(([name]) => !BODY.has(name));
        const facts = [
            ["Subscription", letter.subscription],
            ["Target", letter.target],
            ["Attempts", letter.attempts],
            ["Given up", letter.time],
            ["Guest", letter.guest_hash],
            ["Size", format.bytes(letter.bytes)],
            ...attributes,
        ];
        return factsOf(
            facts.map(([name, value]) => [name, (value ?? "") !== "" && [String(value)]]),
        );
    }

    // ---- acts ----

    async #actOnOne(letter, act) {
        const what = ACTS[act];
        const isAgreed = await ask({
            title: `${what.verb} letter ${letter.id}?`,
            yes: what.yes,
            isDanger: what.isDanger,
            text: what
                .text(`${letter.event.subject ?? letter.event.id}, for ${letter.subscription},`, "")
                .trim(),
        });
        if (!isAgreed) {
            return;
        }
        const after = this.#neighbour(letter.id);
        const problems = await this.#act([letter.id], act);
        if (problems.length > 0) {
            this.#article.querySelector(".problem").textContent = problems[0];
            announce(problems[0]);
            return;
        }
        announce(`Letter ${letter.id} is ${what.done}`);
        // The next one, so that a row of them is gone through with one key.
        location.hash = after === null ? "#letters" : `#letters/${after}`;
    }

    async #actOnSelected(act) {
        const what = ACTS[act];
        const ids = this.#letters.map((each) => each.id).filter((id) => this.#selected.has(id));
        const these = format.plural(ids.length, "letter");
        const isAgreed = await ask({
            title: `${what.verb} ${these}?`,
            yes: `${what.yes} ${ids.length}`,
            isDanger: what.isDanger,
            text: what.text(
                ids.length === 1 ? "this event" : "each of these events",
                "They are taken one after the other.",
            ),
        });
        if (!isAgreed) {
            return;
        }
        const problems = await this.#act(ids, act);
        const done = ids.length - problems.length;
        this.#problem =
            problems.length > 0
                ? `${format.plural(problems.length, "letter")} stayed: ${problems[0]}`
                : "";
        this.#showNote(`${done} ${what.done}`);
        announce(`${done} of ${these} ${what.done}`);
        if (this.#isShown) {
            byId("letters-title").focus();
        }
    }

    /** One after the other. Returns why some stayed. */
    async #act(ids, act) {
        const progress = byId("letters-progress");
        const stop = byId("letters-stop");
        const problems = [];
        this.#isActing = true;
        this.#stop = new AbortController();
        const { signal } = this.#stop;
        const isRun = ids.length > 1;
        progress.max = ids.length;
        progress.value = 0;
        progress.hidden = !isRun;
        stop.hidden = !isRun;
        this.#showActs();
        for (const id of ids) {
            if (signal.aborted) {
                problems.push("it was stopped here");
                continue;
            }
            try {
                await this.#api.post(`/api/dead-letters/${id}/${act}`, null);
                this.#letters = this.#letters.filter((each) => each.id !== id);
                this.#selected.delete(id);
            } catch (error) {
                problems.push(error.message);
            }
            progress.value += 1;
        }
        this.#isActing = false;
        progress.hidden = true;
        stop.hidden = true;
        this.#problem = "";
        this.#draw();
        return problems;
    }

    /** The letter below it in the list, else the one above. */
    #neighbour(id) {
        const at = this.#letters.findIndex((each) => each.id === id);
        return (this.#letters[at + 1] ?? this.#letters[at - 1])?.id ?? null;
    }
}

// SPDX-License-Identifier: Apache-2.0
//
// The live tail. weir sends a sample where more is delivered than anybody reads, and says how much
// it left out; the note passes that on. The list keeps LINES_MAX lines. Who scrolls up, or has the
// focus on a line, reads: then nothing moves, and what comes waits, at most WAITING_MAX lines of it,
// until it is asked for.
//
// While the list follows, only the lines in sight are in the document, below an empty row that is as
// high as the others: laying out all of them some times a second cost a third of a processor. Who
// scrolls up gets the others then.

import { announce, byId, calmly, make, setText } from "/dom.js";
import * as format from "/format.js";

const LINES_MAX = 500;
const WAITING_MAX = 500;
const DRAW_MS = 250; // from one look of new lines to the next
const ROW_HEIGHT = 24; // as in the style sheet
const FILTER_MS = 300;
const NOTE_MS = 1000;
const SHARE_NOTES = 5; // the share that is shown is that of so many seconds
const AGAIN_MS = [500, 1000, 2000, 5000, 10_000]; // from one try to the next
const NEAR_END_PX = 24;

export const OUTCOMES = {
    handled: { text: "handled", tone: "is-flowing" },
    derived: { text: "derived", tone: "is-flowing" },
    retry: { text: "retry", tone: "is-failing" },
    dead: { text: "dead", tone: "is-failing" },
    cut: { text: "cut", tone: "is-failing" },
    later: { text: "later", tone: "is-lagging" },
};

/** An outcome as a word with its colour. */
export function outcomeBadge(outcome) {
    const known = OUTCOMES[outcome];
    return make("span", {
        class: `badge ${known?.tone ?? "is-idle"}`,
        text: known?.text ?? outcome ?? "unknown",
    });
}

/** Where the story of an event stands. */
export function storyHref({ source, id }) {
    return `#story/${encodeURIComponent(source ?? "")}/${encodeURIComponent(id ?? "")}`;
}

function cell(css, text, title) {
    return make("td", { class: css, title: title ?? null, text });
}

/** A line as a row; {gap: N} are N lines that were not kept. */
function rowOf(each) {
    if (each.gap) {
        return make(
            "tr",
            { class: "gap" },
            make("td", {
                text: `${format.plural(each.gap, "line")} that came meanwhile were too many to keep`,
            }),
        );
    }
    const row = make(
        "tr",
        {},
        cell("c-time", format.clock(each.time), each.time),
        make("td", { class: "c-outcome" }, outcomeBadge(each.outcome)),
        cell("c-subscription", each.subscription, each.subscription),
        cell("c-key", each.subject ?? "", each.subject),
        cell("c-type", each.type, each.type),
        make(
            "td",
            { class: "c-event" },
            make("a", { href: storyHref(each), title: each.id, text: each.id }),
        ),
        cell("c-attempt number", String(each.attempt)),
        cell("c-took number", format.took(each.took_ns / 1e9)),
        cell("c-reason", each.reason ?? "", each.reason),
    );
    // The link is what the keyboard reaches; a click may go anywhere on the line.
    row.addEventListener("click", (event) => {
        if (!event.target.closest("a") && String(getSelection()) === "") {
            location.hash = storyHref(each);
        }
    });
    return row;
}

export class Tail {
    #api;
    #scroll = byId("tail-scroll");
    #lines = byId("tail-lines");
    #note = byId("tail-note");
    #jump = byId("tail-jump");
    #pause = byId("tail-pause");
    #fields = {
        subscription: byId("tail-subscription"),
        type: byId("tail-type"),
        key: byId("tail-key"),
        failed: byId("tail-failed"),
    };
    #ending = null; // of the stream
    #kept = []; // all lines of the list, the newest last
    #inDocument = 0; // how many of them, from the end
    #space = make("tr", { class: "space", "aria-hidden": "true" }, make("td"));
    #incoming = []; // since they were drawn
    #waiting = []; // while somebody reads
    #dropped = 0; // of the waiting
    #isFollowing = true;
    #isPaused = false; // by the button
    #seconds = []; // how many lines came, and how many were left out, in each of the last seconds
    #second = { shown: 0, leftOut: 0 };
    #problem = "";
    #noteTimer = 0;
    #drawTimer = 0;

    constructor(api) {
        this.#api = api;
        const restart = calmly(() => this.#restart(), FILTER_MS);
        Object.values(this.#fields).forEach((field) => field.addEventListener("input", restart));
        this.#scroll.addEventListener("scroll", () => this.#look(), { passive: true });
        this.#lines.addEventListener("focusin", () => this.#stand());
        this.#jump.addEventListener("click", () => {
            this.#setPaused(false);
            this.#follow();
            this.#scroll.focus();
        });
        this.#pause.addEventListener("click", () => {
            this.#setPaused(!this.#isPaused);
            if (!this.#isPaused) {
                this.#follow();
            }
        });
        byId("tail-clear").addEventListener("click", () => this.#clear());
    }

    show(values) {
        const { subscription, type, key, failed } = this.#fields;
        subscription.value = values.get("subscription") ?? "";
        type.value = values.get("type") ?? "";
        key.value = values.get("key") ?? "";
        failed.checked = values.get("failed") === "1";
        this.#open();
        this.#noteTimer = setInterval(() => this.#turnSecond(), NOTE_MS);
    }

    hide() {
        clearInterval(this.#noteTimer);
        clearTimeout(this.#drawTimer);
        this.#drawTimer = 0;
        this.#ending?.abort();
        this.#ending = null;
    }

    tick() {}

    // ---- the stream ----

    #values() {
        const { subscription, type, key, failed } = this.#fields;
        return {
            subscription: subscription.value,
            type: type.value,
            key: key.value,
            failed: failed.checked ? "1" : "",
        };
    }

    #restart() {
        const query = new URLSearchParams(
            Object.entries(this.#values()).filter(([, value]) => value),
        );
        history.replaceState(null, "", query.size ? `#tail?${query}` : "#tail");
        this.#clear();
        this.#open();
    }

    #open() {
        this.#ending?.abort();
        this.#ending = new AbortController();
        this.#problem = "";
        this.#second = { shown: 0, leftOut: 0 };
        this.#seconds = [];
        this.#read(this.#ending.signal);
    }

    async #read(signal) {
        let tries = 0;
        const begun = () => {
            tries = 0;
            this.#problem = "";
        };
        const take = (each) => this.#take(each);
        while (!signal.aborted) {
            try {
                await this.#api.tail("/api/tail", this.#values(), { begun, take }, signal);
            } catch (error) {
                if (signal.aborted) {
                    return;
                }
                this.#problem = error.message;
                this.#showNote();
            }
            const wait_ms = AGAIN_MS[Math.min(tries, AGAIN_MS.length - 1)];
            tries += 1;
            await new Promise((resolve) => {
                setTimeout(resolve, wait_ms);
            });
        }
    }

    #take(each) {
        if (each.left_out !== undefined) {
            this.#second.leftOut += each.left_out;
            return;
        }
        this.#second.shown += 1;
        this.#incoming.push(each);
        // A page that nobody sees is drawn seldom.
        if (this.#incoming.length > LINES_MAX) {
            this.#incoming.shift();
        }
        this.#drawTimer ||= setTimeout(() => {
            this.#drawTimer = 0;
            this.#drain();
        }, DRAW_MS);
    }

    // ---- the list ----

    #drain() {
        const incoming = this.#incoming;
        this.#incoming = [];
        if (!this.#isFollowing || this.#isPaused) {
            this.#waiting.push(...incoming);
            const over = this.#waiting.length - WAITING_MAX;
            if (over > 0) {
                this.#waiting.splice(0, over);
                this.#dropped += over;
            }
            this.#showJump();
            return;
        }
        this.#append(incoming);
    }

    /** Adds lines at the end, and leaves those in the document that are in sight. */
    #append(incoming) {
        this.#kept.push(...incoming);
        this.#kept.splice(0, Math.max(0, this.#kept.length - LINES_MAX));
        const wanted = Math.min(
            this.#kept.length,
            Math.ceil(this.#scroll.clientHeight / ROW_HEIGHT) + 1,
        );
        this.#space.remove();
        this.#lines.append(...incoming.slice(-wanted).map(rowOf));
        while (this.#lines.children.length > wanted) {
            this.#lines.firstChild.remove();
        }
        this.#inDocument = this.#lines.children.length;
        this.#setSpace();
        this.#scroll.scrollTop = this.#scroll.scrollHeight;
        byId("tail-empty").hidden = this.#kept.length > 0;
    }

    /** The row for what is above those in the document. */
    #setSpace() {
        const above = this.#kept.length - this.#inDocument;
        if (above > 0) {
            this.#space.firstChild.style.height = `${above * ROW_HEIGHT}px`;
            this.#lines.prepend(this.#space);
        } else {
            this.#space.remove();
        }
    }

    /** Somebody reads: all lines are there, and stay where they are. */
    #stand() {
        this.#isFollowing = false;
        const { scrollTop } = this.#scroll;
        this.#space.remove();
        this.#lines.prepend(
            ...this.#kept.slice(0, this.#kept.length - this.#inDocument).map(rowOf),
        );
        this.#inDocument = this.#kept.length;
        this.#scroll.scrollTop = scrollTop;
        this.#showJump();
    }

    #look() {
        const rest = this.#scroll.scrollHeight - this.#scroll.scrollTop - this.#scroll.clientHeight;
        const isAtEnd = rest <= NEAR_END_PX;
        if (this.#isFollowing && !isAtEnd) {
            this.#stand();
        } else if (
            !this.#isFollowing &&
            isAtEnd &&
            !this.#isPaused &&
            !this.#lines.contains(document.activeElement)
        ) {
            this.#follow();
        }
    }

    #follow() {
        this.#isFollowing = true;
        this.#append(
            this.#dropped > 0 ? [{ gap: this.#dropped }, ...this.#waiting] : this.#waiting,
        );
        this.#waiting = [];
        this.#dropped = 0;
        this.#showJump();
    }

    #setPaused(isPaused) {
        if (isPaused !== this.#isPaused) {
            announce(isPaused ? "The tail stands still" : "The tail goes on");
        }
        this.#isPaused = isPaused;
        this.#pause.textContent = isPaused ? "Go on" : "Pause";
        this.#showJump();
    }

    #showJump() {
        const stands = !this.#isFollowing || this.#isPaused;
        this.#jump.hidden = !stands;
        const waiting = this.#waiting.length + this.#dropped;
        setText(
            this.#jump,
            waiting > 0
                ? `Jump to the newest (${format.count(waiting)} more)`
                : "Jump to the newest",
        );
    }

    #clear() {
        this.#lines.replaceChildren();
        this.#kept = [];
        this.#inDocument = 0;
        this.#waiting = [];
        this.#incoming = [];
        this.#dropped = 0;
        this.#isFollowing = true;
        byId("tail-empty").hidden = false;
        this.#showJump();
    }

    // ---- what is said about it ----

    #turnSecond() {
        this.#seconds.push(this.#second);
        this.#second = { shown: 0, leftOut: 0 };
        if (this.#seconds.length > SHARE_NOTES) {
            this.#seconds.shift();
        }
        this.#showNote();
    }

    #showNote() {
        const shown = this.#seconds.reduce((sum, each) => sum + each.shown, 0);
        const leftOut = this.#seconds.reduce((sum, each) => sum + each.leftOut, 0);
        const seconds = Math.max(1, this.#seconds.length) * (NOTE_MS / 1000);
        const rate = format.rate((shown + leftOut) / seconds);
        if (this.#problem) {
            setText(this.#note, `${this.#problem}; trying again`);
        } else if (leftOut > 0) {
            setText(
                this.#note,
                `Sampled: ${format.percent(shown / (shown + leftOut))} of ${rate} that fit are shown.`,
            );
        } else {
            setText(
                this.#note,
                `All that fit are shown: ${rate}. The last ${LINES_MAX} lines are kept.`,
            );
        }
        this.#note.classList.toggle("is-lagging", leftOut > 0 || this.#problem !== "");
    }
}

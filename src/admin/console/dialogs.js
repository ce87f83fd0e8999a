// SPDX-License-Identifier: Apache-2.0
//
// The two dialogs: "are you sure", and the token. Both are <dialog>, which keeps the focus inside and
// gives it back to where it was.

import { byId } from "/dom.js";

/** Asks, and returns whether it was agreed to. What cannot be undone begins at Cancel. */
export function ask({ title, text, yes, isDanger }) {
    const dialog = byId("ask");
    const agree = byId("ask-yes");
    byId("ask-title").textContent = title;
    byId("ask-text").textContent = text;
    agree.textContent = yes;
    agree.className = isDanger ? "danger" : "primary";
    return new Promise((resolve) => {
        const ending = new AbortController();
        const end = (isAgreed) => {
            ending.abort();
            dialog.close();
            resolve(isAgreed);
        };
        const options = { signal: ending.signal };
        agree.addEventListener("click", () => end(true), options);
        byId("ask-no").addEventListener("click", () => end(false), options);
        dialog.addEventListener("cancel", () => end(false), options);
        dialog.showModal();
        (isDanger ? byId("ask-no") : agree).focus();
    });
}

/** Asks for the token. `use` tries one, and returns what is wrong with it, or nothing. */
export class TokenDialog {
    #dialog = byId("token");
    #input = byId("token-input");
    #problem = byId("token-problem");

    constructor({ use, forget }) {
        const yes = async () => {
            const token = this.#input.value.trim();
            if (token === "") {
                this.#problem.textContent = "There is no token in the field.";
                return;
            }
            const problem = await use(token);
            this.#problem.textContent = problem;
            if (!problem) {
                this.#close();
            }
        };
        byId("token-yes").addEventListener("click", yes);
        this.#input.addEventListener("keydown", (event) => {
            if (event.key === "Enter") {
                event.preventDefault();
                yes();
            }
        });
        byId("token-no").addEventListener("click", () => this.#close());
        byId("token-forget").addEventListener("click", () => {
            forget();
            this.#close();
        });
    }

    open({ text, isKnown, problem }) {
        if (this.#dialog.open) {
            return;
        }
        byId("token-text").textContent = text;
        byId("token-forget").hidden = !isKnown;
        this.#problem.textContent = problem ?? "";
        this.#input.value = "";
        this.#dialog.showModal();
        this.#input.focus();
    }

    #close() {
        this.#input.value = "";
        this.#dialog.close();
    }
}

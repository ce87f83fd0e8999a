// SPDX-License-Identifier: Apache-2.0
//
// The console: asks weir for its status once a second, and gives it to the view that is shown. The
// address behind the # says which view that is, so that the back button and bookmarks work:
// #NAME, #NAME/PART/PART, #NAME?KEY=VALUE.
//
// The page reads without a token where weir lets it. A token may come behind the # too, once, as in
// #token=…; it is taken out of the address before anything else is done.

import { Api } from "/api.js";
import { TokenDialog } from "/dialogs.js";
import { announce, byId, make, setAttribute, setText } from "/dom.js";
import * as format from "/format.js";
import { Letters } from "/letters.js";
import { Model } from "/model.js";
import { Overview } from "/overview.js";
import { Story } from "/story.js";
import { SubscriptionView } from "/subscription.js";
import { Table } from "/table.js";
import { Tail } from "/tail.js";

const LOOK_MS = 1000;
const LOOK_HIDDEN_MS = 10_000; // while nobody sees the page
const AGAIN_MS = [1000, 2000, 4000, 8000, 15_000]; // while weir does not answer
const NAMES_MAX = 1000; // subscriptions that fields offer

const THEMES = ["system", "light", "dark"];
const TITLES = {
    overview: "Overview",
    subscriptions: "Subscriptions",
    subscription: "Subscription",
    tail: "Live tail",
    letters: "Dead letters",
    story: "Story",
};

const api = new Api();
const model = new Model();

// ---- the token ----

const LETTERS_WHY = {
    none: "Nothing can be changed from here: the admin address has no token (weir.yaml, admin: token).",
    wanted: "Read only: retry and remove want the token. The button at the top takes it.",
};

const access = {
    why() {
        if (!model.status || model.status.may_change) {
            return "";
        }
        return model.status.has_token ? LETTERS_WHY.wanted : LETTERS_WHY.none;
    },
};

const tokenDialog = new TokenDialog({
    async use(token) {
        api.setToken(token);
        try {
            const status = await api.get("/api/status");
            if (!status.may_change) {
                api.setToken("");
                return status.has_token ? "That is not the token of this weir." : LETTERS_WHY.none;
            }
        } catch (error) {
            api.setToken("");
            return error.code === 401 ? "That is not the token of this weir." : error.message;
        }
        announce("The token is right");
        wake();
        return "";
    },
    forget() {
        api.setToken("");
        announce("The token is forgotten");
        wake();
    },
});

function openToken(problem) {
    tokenDialog.open({
        text: "It is what weir.yaml names under admin: token. It stays in this tab, until the tab is closed.",
        isKnown: api.hasToken,
        problem,
    });
}

/** Takes a token out of the address; true where there was one. */
function takeTokenFromAddress() {
    const found = location.hash.match(/^#token=([^&]*)/);
    if (!found) {
        return false;
    }
    history.replaceState(null, "", "#overview");
    try {
        api.setToken(decodeURIComponent(found[1]));
    } catch {
        // It was not encoded as it should be, so it is none.
    }
    return true;
}

function showAccess() {
    const button = byId("access");
    const { may_change: mayChange, has_token: hasToken } = model.status ?? {};
    setText(button, mayChange ? "May change" : "Read only");
    setAttribute(button, "class", mayChange ? "quiet is-flowing" : "quiet");
    setAttribute(
        button,
        "title",
        mayChange
            ? "The token of this tab is right"
            : hasToken
              ? LETTERS_WHY.wanted
              : LETTERS_WHY.none,
    );
}

// ---- views ----

const views = {
    overview: new Overview(model),
    subscriptions: new Table(model),
    subscription: new SubscriptionView(api, model),
    tail: new Tail(api),
    letters: new Letters(api, model, access),
    story: new Story(api),
};

let shown = null; // the name of a view

/** "#letters/7?subscription=x" as ["letters", ["7"], values]. What cannot be read is the overview. */
function place() {
    const [path, query] = location.hash.slice(1).split("?", 2);
    try {
        const [name, ...parts] = path.split("/").map(decodeURIComponent);
        return [
            views[name] && Object.hasOwn(views, name) ? name : "overview",
            parts,
            new URLSearchParams(query ?? ""),
        ];
    } catch {
        return ["overview", [], new URLSearchParams()];
    }
}

function show(isFirst) {
    if (takeTokenFromAddress()) {
        wake();
    }
    const [name, parts, values] = place();
    const isSame = name === shown;
    if (shown !== null && !isSame) {
        views[shown].hide?.();
    }
    shown = name;
    for (const each of Object.keys(views)) {
        byId(`view-${each}`).hidden = each !== name;
    }
    for (const link of document.querySelectorAll(".tabs a")) {
        const isHere =
            link.dataset.view === name ||
            (name === "subscription" && link.dataset.view === "subscriptions");
        setAttribute(link, "aria-current", isHere ? "page" : null);
    }
    if (isSame && name === "subscription") {
        views[name].hide();
    }
    // Who came here by a link goes on from the new view's beginning.
    const takesFocus = views[name].show(values, parts, !isFirst);
    document.title = `${parts.length ? `${parts[parts.length - 1]}, ` : ""}${TITLES[name]}: weir`;
    if (!isFirst && !takesFocus) {
        byId(`${name}-title`).focus({ preventScroll: true });
        byId("main").scrollTop = 0;
    }
}

// ---- the status ----

let wakeUp = () => {};

/** Ends the wait for the next look. */
function wake() {
    wakeUp();
}

function sleep(time_ms) {
    return new Promise((resolve) => {
        const timer = setTimeout(resolve, time_ms);
        wakeUp = () => {
            clearTimeout(timer);
            resolve();
        };
    });
}

function showPulse(text, tone) {
    setText(byId("pulse-text"), text);
    setAttribute(byId("pulse"), "class", `pulse ${tone}`);
}

function showStatus() {
    const { version, pid, uptime_ms: uptime, state_database: state } = model.status;
    setText(byId("version"), version);
    showPulse(`process ${pid}, up ${format.age(uptime / 1000)}`, "is-flowing");
    const failing = byId("state-failing");
    const isFailing = Boolean(state?.is_failing);
    if (failing.hidden === isFailing) {
        failing.hidden = !isFailing;
    }
    setText(
        failing,
        isFailing
            ? `The state database cannot be written since ${format.moment(state.failing_since)}, and nothing is handled meanwhile: ${state.error ?? "no reason is known"}`
            : "",
    );
    showAccess();
    showNames();
}

/** What the fields for a subscription offer. */
let namesShown = "";
function showNames() {
    const names = [...model.subscriptions.keys()].slice(0, NAMES_MAX);
    const text = names.join("\n");
    if (text !== namesShown) {
        namesShown = text;
        byId("names").replaceChildren(...names.map((name) => make("option", { value: name })));
    }
}

async function takeHistory() {
    try {
        model.takeHistory(await api.get("/api/history"));
    } catch {
        // Sparklines begin empty then.
    }
}

/** Looks once. Returns how long to wait for the next look. */
async function look(failures) {
    const lost = byId("lost");
    try {
        const status = await api.get("/api/status");
        const before = model.generation;
        const isFirst = model.status === null;
        if (model.take(status) && (isFirst || model.generation !== before)) {
            await takeHistory();
            if (!isFirst) {
                announce("weir was started again");
            }
        }
        if (!lost.hidden) {
            lost.hidden = true;
            lost.textContent = "";
            announce("weir answers again");
        }
        showStatus();
        views[shown].tick();
        return { failures: 0, wait_ms: document.hidden ? LOOK_HIDDEN_MS : LOOK_MS };
    } catch (error) {
        if (!(error.code >= 0)) {
            throw error; // a mistake of this page
        }
        if (error.code === 401) {
            openToken(api.hasToken ? "That is not the token of this weir." : "");
        }
        const text =
            error.code === 401
                ? "This address tells nothing without the token."
                : `${error.message}. What is shown is old.`;
        if (lost.hidden || lost.textContent !== text) {
            lost.textContent = text;
            lost.hidden = false;
        }
        showPulse(error.code === 401 ? "no token" : "no answer", "is-failing");
        return {
            failures: failures + 1,
            wait_ms: AGAIN_MS[Math.min(failures, AGAIN_MS.length - 1)],
        };
    }
}

async function lookAgainAndAgain() {
    let failures = 0;
    for (;;) {
        const found = await look(failures);
        failures = found.failures;
        await sleep(found.wait_ms);
    }
}

// ---- light and dark ----

function showTheme(theme) {
    byId("theme").textContent = `Theme: ${theme}`;
}

function nextTheme() {
    const now = document.documentElement.dataset.theme ?? "system";
    const next = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length];
    if (next === "system") {
        delete document.documentElement.dataset.theme;
    } else {
        document.documentElement.dataset.theme = next;
    }
    try {
        localStorage.setItem("weir-theme", next);
    } catch {
        // It holds until the page goes.
    }
    showTheme(next);
}

// ---- the beginning ----

byId("theme").addEventListener("click", nextTheme);
byId("access").addEventListener("click", () => openToken(""));
byId("skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address is the view's
    byId("main").focus();
});
addEventListener("hashchange", () => show(false));
document.addEventListener("visibilitychange", () => document.hidden || wake());
showTheme(document.documentElement.dataset.theme ?? "system");
show(true);
lookAgainAndAgain();

// SPDX-License-Identifier: Apache-2.0
//
// The few ways in which the console touches its document. What comes from elsewhere goes in as text
// or as an attribute's value, never as markup.

const SVG = "http://www.w3.org/2000/svg";

/** The element with that id, which index.html has. */
export function byId(id) {
    return document.getElementById(id);
}

/** Sets attributes, an undefined or null one not at all. `text` is the content, on* a listener. */
function assign(node, attributes) {
    for (const [name, value] of Object.entries(attributes ?? {})) {
        if (value === undefined || value === null || value === false) {
            continue;
        }
        if (name === "text") {
            node.textContent = value;
        } else if (typeof value === "function") {
            node.addEventListener(name.slice("on".length), value);
        } else {
            node.setAttribute(name, value === true ? "" : value);
        }
    }
}

/** Makes an element of HTML with its children: nodes or texts; null is none. */
export function make(name, attributes, ...children) {
    const node = document.createElement(name);
    assign(node, attributes);
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
}

/** The same of SVG. */
export function draw(name, attributes, ...children) {
    const node = document.createElementNS(SVG, name);
    assign(node, attributes);
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
}

/** Sets the text where it differs: an equal one would still cost a layout. */
export function setText(node, text) {
    if (node.textContent !== text) {
        node.textContent = text;
    }
}

/** Sets the attribute where it differs; null takes it away. */
export function setAttribute(node, name, value) {
    if (value === null || value === undefined) {
        if (node.hasAttribute(name)) {
            node.removeAttribute(name);
        }
    } else if (node.getAttribute(name) !== String(value)) {
        node.setAttribute(name, value);
    }
}

/** Calls `act` once `wait_ms` have passed without another call. */
export function calmly(act, wait_ms) {
    let timer = 0;
    return (...values) => {
        clearTimeout(timer);
        timer = setTimeout(() => act(...values), wait_ms);
    };
}

/** Says it to readers who do not see it. Not for what changes every second. */
export function announce(text) {
    byId("announce").textContent = text;
}

/** A button that copies the text, and says so. */
export function copyButton(text, what) {
    const button = make("button", { type: "button", class: "quiet small", text: "Copy" });
    button.setAttribute("aria-label", `Copy ${what}`);
    button.addEventListener("click", async () => {
        try {
            await navigator.clipboard.writeText(text);
            button.textContent = "Copied";
            announce(`${what} is copied`);
        } catch {
            // Without the clipboard (a page that is not of this machine and not encrypted).
            button.textContent = "Select it by hand";
        }
    });
    return button;
}

/** A framed part of a view; `title` is a text, or the nodes of it. */
export function panel(title, ...children) {
    return make("div", { class: "panel" }, make("h3", {}, ...[title].flat()), ...children);
}

/** Text as it was printed, which scrolls where it is long. */
export function printed(label, text, css) {
    return make("pre", { class: css, tabindex: "0", role: "region", "aria-label": label, text });
}

/** Names with their values, each an array of nodes and texts; those without a value are left out. */
export function factsOf(rows) {
    const known = rows.filter(([, value]) => value);
    return make(
        "dl",
        { class: "facts" },
        ...known.map(([name, value]) =>
            make("div", {}, make("dt", { text: name }), make("dd", {}, ...value)),
        ),
    );
}

// SPDX-License-Identifier: Apache-2.0
//
// Light or dark, before anything is drawn: a plain script, since a module runs too late for that.
// Without a choice of the reader's the system's holds, by prefers-color-scheme.
"use strict";

(() => {
    try {
        const theme = localStorage.getItem("weir-theme");
        if (theme === "light" || theme === "dark") {
            document.documentElement.dataset.theme = theme;
        }
    } catch {
        // Storage is off in this browser; the system's choice holds.
    }
})();

// SPDX-License-Identifier: Apache-2.0
//
// Sparklines: a path of the points that a Series has. The numbers that they draw stand beside them
// as text, so they are hidden from who does not see them.

import { draw, setAttribute } from "/dom.js";
import { POINTS_MAX } from "/model.js";

/** The outline of the points, the newest at the right edge; closed to the ground if asked. */
function outline(series, top, width, height, isArea) {
    if (series.length === 0) {
        return "";
    }
    const step = width / (POINTS_MAX - 1);
    const left = width - step * (series.length - 1);
    let path = "";
    for (let at = 0; at < series.length; at += 1) {
        const x = (left + step * at).toFixed(1);
        const y = (height - 1 - (series.at(at) / (top || 1)) * (height - 2)).toFixed(1);
        path += `${at === 0 ? "M" : "L"}${x} ${y}`;
    }
    return isArea ? `${path}L${width} ${height}L${left.toFixed(1)} ${height}Z` : path;
}

export class Spark {
    #area = draw("path", { class: "spark-area" });
    #line = draw("path", { class: "spark-line" });
    #failed = draw("path", { class: "spark-failed" });
    #width;
    #height;

    /** `tone` is a class of the style sheet: which colour it has. */
    constructor(width, height, tone) {
        this.#width = width;
        this.#height = height;
        this.node = draw(
            "svg",
            {
                class: `spark ${tone}`,
                viewBox: `0 0 ${width} ${height}`,
                width,
                height,
                preserveAspectRatio: "none",
                "aria-hidden": "true",
                focusable: "false",
            },
            this.#area,
            this.#line,
            this.#failed,
        );
    }

    /** `failed` may be null; it is drawn to the same scale. Returns the value at the top. */
    update(series, failed) {
        const top = Math.max(series.max(), failed ? failed.max() : 0);
        this.node.classList.toggle("is-still", top === 0);
        setAttribute(this.#area, "d", outline(series, top, this.#width, this.#height, true));
        setAttribute(this.#line, "d", outline(series, top, this.#width, this.#height, false));
        const hasFailed = failed !== null && failed.max() > 0;
        setAttribute(
            this.#failed,
            "d",
            hasFailed ? outline(failed, top, this.#width, this.#height, false) : "",
        );
        return top;
    }
}

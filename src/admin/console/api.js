// SPDX-License-Identifier: Apache-2.0
//
// Asks the weir that served this page. Reading is free on a loopback address; what changes wants the
// token, and elsewhere so does everything. The token stands in the session's storage only, so it
// goes when the tab does.
//
// The tail is read with fetch and not with EventSource, which cannot send a token.

const REQUEST_MS_MAX = 10_000;
const TOKEN_KEY = "weir-token";
// Of a tail, that wait for the end of their line. A line is at most some KiB.
const TAIL_BYTES_MAX = 1 << 20;

/** What weir answered, or why it did not: `code` is HTTP's, 0 where there was no answer. */
export class ApiError extends Error {
    constructor(message, code) {
        super(message);
        this.code = code;
    }
}

export class Api {
    #token = "";

    constructor() {
        try {
            this.#token = sessionStorage.getItem(TOKEN_KEY) ?? "";
        } catch {
            // Storage is off: the token is kept until the page goes.
        }
    }

    get hasToken() {
        return this.#token !== "";
    }

    setToken(token) {
        this.#token = token;
        try {
            if (token) {
                sessionStorage.setItem(TOKEN_KEY, token);
            } else {
                sessionStorage.removeItem(TOKEN_KEY);
            }
        } catch {
            // As above.
        }
    }

    /** Of `values`, those that are empty are left out of the address. */
    async get(path, values, signal) {
        const response = await this.#fetch("GET", path, values, REQUEST_MS_MAX, signal);
        return this.#json(response);
    }

    async post(path, signal) {
        return this.#json(await this.#fetch("POST", path, {}, REQUEST_MS_MAX, signal));
    }

    /** Calls `begun` once weir sends, then `take` with each event's data, until the signal ends it;
     * fails where weir ends it. */
    async tail(path, values, { begun, take }, signal) {
        const response = await this.#fetch("GET", path, values, 0, signal);
        begun();
        const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
        let rest = "";
        for (;;) {
            const { value, done } = await reader.read();
            if (done) {
                throw new ApiError("weir ended the tail", 0);
            }
            const lines = (rest + value).split("\n");
            rest = lines.pop();
            if (rest.length > TAIL_BYTES_MAX) {
                throw new ApiError("a line of the tail has no end", 0);
            }
            for (const line of lines) {
                if (line.startsWith("data:")) {
                    take(JSON.parse(line.slice("data:".length)));
                }
            }
        }
    }

    async #fetch(method, path, values, time_ms, signal) {
        const query = new URLSearchParams(
            Object.entries(values ?? {}).filter(
                ([, value]) =>
                    value !== "" && value !== null && value !== undefined && value !== false,
            ),
        );
        const signals = [signal, time_ms ? AbortSignal.timeout(time_ms) : null].filter(Boolean);
        let response;
        try {
            response = await fetch(query.size ? `${path}?${query}` : path, {
                method,
                headers: this.#token ? { Authorization: `Bearer ${this.#token}` } : {},
                cache: "no-store",
                credentials: "omit",
                redirect: "error",
                signal: AbortSignal.any(signals),
            });
        } catch (error) {
            throw new ApiError(
                error.name === "TimeoutError"
                    ? `weir did not answer within ${time_ms / 1000} s`
                    : "weir does not answer",
                0,
            );
        }
        if (!response.ok) {
            throw new ApiError(await this.#reason(response), response.status);
        }
        return response;
    }

    async #reason(response) {
        try {
            return (await response.json()).error ?? `weir answered ${response.status}`;
        } catch {
            return `weir answered ${response.status}`;
        }
    }

    async #json(response) {
        try {
            return await response.json();
        } catch {
            throw new ApiError("weir's answer broke off", 0);
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//
// What is known of weir: the last status, and what follows from two of them that came one after the
// other. weir tells totals; rates and the points of sparklines are made here. Time is weir's own
// (uptime_ms), so that a late answer makes no rate wrong. A weir that was started again (another
// pid, or less uptime) counts from 0: then all begins anew.

export const POINTS_MAX = 120; // of a sparkline, one a second
const POINT_MS = 1000;
const RATE_POINTS = 3; // a rate is the mean of the last ones
const ELAPSED_MS_MIN = 500; // between two answers that make a rate
const LAGGING_MS = 5000; // an event that waits longer makes its subscription lag

const TOTALS = {
    received: "received_total",
    delivered: "delivered_total",
    handled: "handled_total",
    failed: "failed_attempts_total",
    dead: "dead_total",
    derived: "derived_total",
};

/** The last POINTS_MAX numbers, the oldest first. */
export class Series {
    #values = new Float64Array(POINTS_MAX);
    #next = 0;
    length = 0;

    push(value) {
        this.#values[this.#next] = value;
        this.#next = (this.#next + 1) % POINTS_MAX;
        this.length = Math.min(this.length + 1, POINTS_MAX);
    }

    fill(values) {
        this.length = 0;
        values.slice(-POINTS_MAX).forEach((value) => this.push(value));
    }

    /** The number `at` of `length`, 0 is the oldest. */
    at(at) {
        return this.#values[(this.#next - this.length + at + 2 * POINTS_MAX) % POINTS_MAX];
    }

    max() {
        let max = 0;
        for (let at = 0; at < this.length; at += 1) {
            max = Math.max(max, this.at(at));
        }
        return max;
    }
}

class Subscription {
    constructor(name) {
        this.name = name;
        this.status = null;
        this.rates = Object.fromEntries(Object.keys(TOTALS).map((key) => [key, null]));
        this.recent = []; // the rates of the last RATE_POINTS answers
        this.history = { handled: new Series(), failed: new Series(), lag: new Series() };
        this.health = "idle";
    }

    /** `elapsed_ms` since the status before; 0: there is none. */
    take(status, elapsed_ms) {
        const before = this.status;
        this.status = status;
        if (!before || elapsed_ms === 0) {
            return;
        }
        const now = {};
        for (const [key, total] of Object.entries(TOTALS)) {
            // What ended and began again counts from 0.
            const difference = Math.max(0, (status[total] ?? 0) - (before[total] ?? 0));
            now[key] = (difference * 1000) / elapsed_ms;
        }
        this.recent.push(now);
        if (this.recent.length > RATE_POINTS) {
            this.recent.shift();
        }
        for (const key of Object.keys(TOTALS)) {
            this.rates[key] =
                this.recent.reduce((sum, each) => sum + each[key], 0) / this.recent.length;
        }
        // A hidden page asks seldom: its points are as many as there would have been.
        const points = Math.min(POINTS_MAX, Math.max(1, Math.round(elapsed_ms / POINT_MS)));
        for (let at = 0; at < points; at += 1) {
            this.history.handled.push(now.handled);
            this.history.failed.push(now.failed);
            this.history.lag.push(status.lag_events ?? 0);
        }
    }

    judge(resource) {
        const status = this.status;
        if ((this.rates.failed ?? 0) > 0 || (status.retrying_keys ?? 0) > 0) {
            this.health = "failing";
        } else if (resource && resource.is_connected === false) {
            this.health = "away";
        } else if (
            (status.lag_events ?? 0) > 0 &&
            (status.state === "behind" || (status.oldest_age_ms ?? 0) > LAGGING_MS)
        ) {
            this.health = "lagging";
        } else if (
            status.state === "stopped" ||
            status.state === "waiting" ||
            status.state === "kept"
        ) {
            this.health = status.state;
        } else {
            this.health = (this.rates.delivered ?? 0) > 0 ? "flowing" : "idle";
        }
    }
}

/** All of them by name; of those without a connection only subscriptions and targets tell. */
function resourcesOf(status) {
    const found = new Map(status.resources.map((each) => [each.name, each]));
    const add = (name, kind) => {
        if (name && !found.has(name)) {
            found.set(name, { name, kind: kind ?? "", is_connected: null });
        }
    };
    status.subscriptions.forEach((each) => add(each.resource, each.resource_kind));
    status.targets.forEach((each) => add(each.name, each.kind));
    return found;
}

export class Model {
    status = null;
    subscriptions = new Map(); // by name
    resources = new Map();
    guests = new Map();
    targets = new Map();
    publishedRates = new Map(); // of targets, by name
    generation = 0; // how often weir was found to be another one

    /** Takes a status. False: too early after the last one to tell anything. */
    take(status) {
        const before = this.status;
        const isAnother =
            before !== null && (before.pid !== status.pid || before.uptime_ms > status.uptime_ms);
        const elapsed_ms = before && !isAnother ? status.uptime_ms - before.uptime_ms : 0;
        if (before && !isAnother && elapsed_ms < ELAPSED_MS_MIN) {
            before.may_change = status.may_change;
            before.has_token = status.has_token;
            return false;
        }
        if (isAnother) {
            this.subscriptions.clear();
            this.generation += 1;
        }
        this.status = status;
        this.resources = resourcesOf(status);
        this.guests = new Map(status.guests.map((each) => [each.name, each]));
        this.#takeTargets(status, elapsed_ms);
        this.#takeSubscriptions(status, elapsed_ms);
        return true;
    }

    /** The points that weir kept from before this page was opened. */
    takeHistory(history) {
        for (const [name, points] of Object.entries(history.subscriptions ?? {})) {
            const subscription = this.subscriptions.get(name);
            if (!subscription) {
                continue;
            }
            for (const [key, series] of Object.entries(subscription.history)) {
                series.fill(points[key] ?? []);
            }
        }
    }

    #takeTargets(status, elapsed_ms) {
        const targets = new Map(status.targets.map((each) => [each.name, each]));
        for (const [name, target] of targets) {
            const before = this.targets.get(name);
            if (elapsed_ms > 0 && before) {
                const published = Math.max(0, target.published_total - before.published_total);
                this.publishedRates.set(name, (published * 1000) / elapsed_ms);
            }
        }
        this.targets = targets;
    }

    #takeSubscriptions(status, elapsed_ms) {
        const seen = new Set();
        for (const each of status.subscriptions) {
            let subscription = this.subscriptions.get(each.name);
            if (!subscription) {
                subscription = new Subscription(each.name);
                this.subscriptions.set(each.name, subscription);
            }
            subscription.take(each, elapsed_ms);
            subscription.judge(this.resources.get(each.resource));
            seen.add(each.name);
        }
        for (const name of this.subscriptions.keys()) {
            if (!seen.has(name)) {
                this.subscriptions.delete(name);
            }
        }
    }

    /** Sums over all subscriptions. */
    totals() {
        const totals = { handled: null, failed: null, lag: 0, dead: 0, retrying: 0 };
        for (const { status, rates } of this.subscriptions.values()) {
            totals.handled =
                rates.handled === null ? totals.handled : (totals.handled ?? 0) + rates.handled;
            totals.failed =
                rates.failed === null ? totals.failed : (totals.failed ?? 0) + rates.failed;
            totals.lag += status.lag_events ?? 0;
            totals.dead += status.dead_total ?? 0;
            totals.retrying += status.retrying_keys ?? 0;
        }
        return totals;
    }
}

/** What a health means, in words, and how bad it is: the table is sorted by that. */
export const HEALTH = {
    failing: { text: "failing", mark: "✕", tone: "is-failing", rank: 5 },
    away: { text: "away", mark: "▲", tone: "is-lagging", rank: 4 },
    lagging: { text: "lagging", mark: "▲", tone: "is-lagging", rank: 3 },
    stopped: { text: "stopped", mark: "■", tone: "is-idle", rank: 2 },
    waiting: { text: "waiting", mark: "○", tone: "is-idle", rank: 1.5 },
    kept: { text: "kept", mark: "○", tone: "is-idle", rank: 1.4 },
    flowing: { text: "flowing", mark: "●", tone: "is-flowing", rank: 1 },
    idle: { text: "idle", mark: "○", tone: "is-idle", rank: 0 },
};

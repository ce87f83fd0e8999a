// SPDX-License-Identifier: Apache-2.0
//
// What the picture shows, made of what is known: boxes of resources, subscriptions and guests, the
// ways back of what handlers return, and all of it in words. Above SUBSCRIPTIONS_MAX the middle column
// has a box for each pair of a resource and a guest, and above GROUPS_MAX only those of them that need
// eyes most; the note says so.

import * as format from "/format.js";
import { HEALTH } from "/model.js";

const SUBSCRIPTIONS_MAX = 40;
const GROUPS_MAX = 40;
export const RETURNS_MAX = 8; // resources that handlers return events to; the others are left out

/** The healths that have a colour and a mark. */
export const NEEDS_EYES = new Set(["failing", "away", "lagging"]);

function worst(healths) {
    return healths.reduce(
        (found, each) => (HEALTH[each].rank > HEALTH[found].rank ? each : found),
        "idle",
    );
}

function sum(values) {
    return values.reduce((total, each) => (each === null ? total : (total ?? 0) + each), null);
}

/** The table of subscriptions, of those only. */
function tableHref(fields) {
    const words = Object.entries(fields).map(([name, value]) => `${name}:"${value ?? ""}"`);
    return `#subscriptions?q=${encodeURIComponent(words.join(" "))}`;
}

/** One subscription, or several of the same resource and guest. */
function middleOf(key, members) {
    const [first] = members;
    const isGroup = members.length > 1;
    const { resource, guest, handler } = first.status;
    return {
        key,
        isGroup,
        resource,
        guest: guest ?? "",
        name: isGroup ? `${members.length} subscriptions` : first.name,
        detail: isGroup ? `${resource} → ${guest ?? "no guest"}` : (handler ?? ""),
        href: isGroup
            ? tableHref({ resource, guest })
            : `#subscription/${encodeURIComponent(first.name)}`,
        received: sum(members.map((each) => each.rates.received)),
        delivered: sum(members.map((each) => each.rates.delivered)),
        failed: sum(members.map((each) => each.rates.failed)),
        lag: members.reduce((total, each) => total + (each.status.lag_events ?? 0), 0),
        health: worst(members.map((each) => each.health)),
    };
}

function grouped(subscriptions) {
    const groups = new Map();
    for (const each of subscriptions) {
        const key = JSON.stringify([each.status.resource, each.status.guest]);
        groups.set(key, [...(groups.get(key) ?? []), each]);
    }
    return [...groups].map(([key, members]) => middleOf(key, members));
}

function byBusiness(one, other) {
    return HEALTH[other.health].rank - HEALTH[one.health].rank || other.delivered - one.delivered;
}

function byPlace(one, other) {
    return (
        String(one.resource).localeCompare(String(other.resource)) ||
        one.guest.localeCompare(other.guest) ||
        one.name.localeCompare(other.name)
    );
}

/** The middle column, and what there is to say about it. */
function middles(model) {
    const subscriptions = [...model.subscriptions.values()];
    if (subscriptions.length <= SUBSCRIPTIONS_MAX) {
        return {
            rows: subscriptions.map((each) => middleOf(each.name, [each])).sort(byPlace),
            note: "",
        };
    }
    const groups = grouped(subscriptions);
    const note = `${subscriptions.length} subscriptions, one box for each resource and guest`;
    if (groups.length <= GROUPS_MAX) {
        return { rows: groups.sort(byPlace), note };
    }
    return {
        rows: groups.sort(byBusiness).slice(0, GROUPS_MAX).sort(byPlace),
        note: `${note}; the ${GROUPS_MAX} that need eyes most of ${groups.length}`,
    };
}

function resourceDetail(resource) {
    if (!resource) {
        return "";
    }
    return [resource.kind, resource.is_connected === false ? "away" : ""]
        .filter(Boolean)
        .join(", ");
}

function guestDetail(guest) {
    return guest ? `${format.bytes(guest.memory_bytes)}, ${guest.lane}` : "";
}

function boxesOfResources(model, rows, returns) {
    const names = new Set(rows.map((row) => row.resource));
    returns.forEach((each) => names.add(each.resource));
    if (rows.length <= SUBSCRIPTIONS_MAX) {
        [...model.resources.keys()].slice(0, SUBSCRIPTIONS_MAX).forEach((name) => names.add(name));
    }
    return [...names]
        .filter((name) => name !== null && name !== undefined)
        .map((name) => {
            const resource = model.resources.get(name);
            const isAway = resource?.is_connected === false;
            return {
                key: name,
                name,
                detail: resourceDetail(resource),
                health: isAway ? "away" : "idle",
                href: tableHref({ resource: name }),
                label: [
                    `Resource ${name}`,
                    resource?.kind,
                    isAway ? `away: ${resource.error ?? "no reason is known"}` : "",
                ]
                    .filter(Boolean)
                    .join(", "),
            };
        });
}

function boxesOfGuests(model, rows) {
    const names = new Set(rows.map((row) => row.guest).filter((name) => name !== ""));
    return [...names].map((name) => ({
        key: name,
        name,
        detail: guestDetail(model.guests.get(name)),
        health: worst(
            rows
                .filter((row) => row.guest === name && row.health === "failing")
                .map((row) => row.health),
        ),
        href: tableHref({ guest: name }),
        label: `Guest ${name}, ${guestDetail(model.guests.get(name))}`,
    }));
}

/** The ways back, one for each resource that handlers return events to. */
function returnsOf(model) {
    const byTarget = new Map();
    for (const { status, rates } of model.subscriptions.values()) {
        if (!status.to) {
            continue;
        }
        const found = byTarget.get(status.to) ?? {
            resource: status.to,
            guests: new Set(),
            rate: null,
        };
        found.guests.add(status.guest ?? "");
        found.rate = sum([found.rate, rates.derived]);
        byTarget.set(status.to, found);
    }
    return [...byTarget.values()].slice(0, RETURNS_MAX).map((each) => {
        const target = model.targets.get(each.resource);
        return {
            ...each,
            guests: [...each.guests],
            error: target?.error ?? null,
            waiting: target?.waiting_events ?? 0,
        };
    });
}

/** A row of the picture in words. */
export function sentence(row) {
    const words = [
        `${row.name}: ${format.rate(row.received)} from ${row.resource}`,
        `${format.rate(row.delivered)} to ${row.guest || "no guest"}`,
    ];
    if (row.failed > 0) {
        words.push(`${format.rate(row.failed)} of them fail`);
    }
    if (row.lag > 0) {
        words.push(`lag ${format.plural(row.lag, "event")}`);
    }
    return `${words.join(", ")}; ${HEALTH[row.health].text}`;
}

/** All of it: {rows, resources, guests, returns, note}. A row is a box of the middle column. */
export function graphOf(model) {
    const { rows, note } = middles(model);
    const returns = returnsOf(model);
    return {
        rows,
        returns,
        resources: boxesOfResources(model, rows, returns),
        guests: boxesOfGuests(model, rows),
        note: rows.length === 0 ? "There is no subscription." : note,
    };
}

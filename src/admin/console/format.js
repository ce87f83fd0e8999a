// SPDX-License-Identifier: Apache-2.0
//
// Numbers as people read them: three digits and a unit. Of what is not known, a dash.

const NOTHING = "–";

const THOUSANDS = ["", "k", "M", "G", "T", "P"];
const BINARY = ["B", "KiB", "MiB", "GiB", "TiB"];

// What is nearer to a whole number than that is one.
const WHOLE = 1e-9;

/** 0, 0.25, 4.2, 48.2, 482: no more than three digits of it. */
function digits(value) {
    const size = Math.abs(value);
    if (size >= 99.95 || Math.abs(size - Math.round(size)) < WHOLE) {
        return value.toFixed(0);
    }
    return value.toFixed(size < 0.995 ? 2 : 1);
}

/** The value below 1000 of the next unit, and the unit's place. 999.7 is 1.0 of the next. */
function scale(value, factor, units) {
    let at = 0;
    let rest = value;
    while (Math.abs(rest) >= factor * 0.9995 && at + 1 < units) {
        rest /= factor;
        at += 1;
    }
    return [rest, at];
}

/** 0, 12, 999, 1.2 k: of things that come in whole numbers. */
export function count(value) {
    if (value === null || value === undefined || Number.isNaN(value)) {
        return NOTHING;
    }
    const [rest, at] = scale(value, 1000, THOUSANDS.length);
    return at === 0 ? String(Math.round(rest)) : `${digits(rest)} ${THOUSANDS[at]}`;
}

/** 0/s, 0.25/s, 1.2 k/s. */
export function rate(value) {
    if (value === null || value === undefined || Number.isNaN(value)) {
        return NOTHING;
    }
    const [rest, at] = scale(value, 1000, THOUSANDS.length);
    return at === 0 ? `${digits(rest)}/s` : `${digits(rest)} ${THOUSANDS[at]}/s`;
}

export function bytes(value) {
    if (value === null || value === undefined) {
        return NOTHING;
    }
    const [rest, at] = scale(value, 1024, BINARY.length);
    return `${at === 0 ? rest : digits(rest)} ${BINARY[at]}`;
}

/** How long a thing took: 850 ns, 3.4 µs, 3.4 ms, 1.2 s, and ages from a minute on. */
export function took(seconds) {
    if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) {
        return NOTHING;
    }
    for (const [unit, factor] of [
        ["ns", 1e-9],
        ["µs", 1e-6],
        ["ms", 1e-3],
    ]) {
        if (seconds < factor * 999.5) {
            return seconds === 0 ? "0 s" : `${digits(seconds / factor)} ${unit}`;
        }
    }
    return seconds < 60 ? `${digits(seconds)} s` : age(seconds);
}

/** 0 s, 12 s, 4 min 10 s, 2 h 5 min, 3 d 4 h. */
export function age(seconds) {
    if (seconds === null || seconds === undefined) {
        return NOTHING;
    }
    const whole = Math.floor(seconds);
    const parts = [
        [Math.floor(whole / 86400), "d"],
        [Math.floor(whole / 3600) % 24, "h"],
        [Math.floor(whole / 60) % 60, "min"],
        [whole % 60, "s"],
    ];
    const first = parts.findIndex(([value]) => value > 0);
    if (first < 0) {
        return "0 s";
    }
    return parts
        .slice(first, first + 2)
        .filter(([value], at) => at === 0 || value > 0)
        .map(([value, unit]) => `${value} ${unit}`)
        .join(" ");
}

export function percent(share) {
    const value = share * 100;
    return value > 0 && value < 0.1 ? "less than 0.1 %" : `${value.toFixed(value < 10 ? 1 : 0)} %`;
}

/** The time of day where the reader is, to the millisecond. */
export function clock(time) {
    const date = new Date(time);
    if (Number.isNaN(date.getTime())) {
        return NOTHING;
    }
    const two = (value) => String(value).padStart(2, "0");
    return (
        `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.` +
        String(date.getMilliseconds()).padStart(3, "0")
    );
}

/** The same with its date, which is left out where it is today's. */
export function moment(time) {
    const date = new Date(time);
    if (Number.isNaN(date.getTime())) {
        return NOTHING;
    }
    const at = clock(time).slice(0, "00:00:00".length);
    if (date.toDateString() === new Date().toDateString()) {
        return at;
    }
    const two = (value) => String(value).padStart(2, "0");
    return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${at}`;
}

/** "1 event", "1.2 k events". */
export function plural(value, one, many) {
    return `${count(value)} ${value === 1 ? one : (many ?? `${one}s`)}`;
}

// SPDX-License-Identifier: Apache-2.0
//
// Whether fields are a CloudEvent. Events that weir's own providers make are right by construction
// and not checked; events that come from a guest are, before anything is done with them. That texts
// are UTF-8 is the business of whoever took them in (lifting, a JSON reader): a second pass over a
// body of a megabyte is not free. Any thread.
#include "event/event.h"

static bool digits(const char *text, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
    }
    return true;
}

static int number(const char *two_digits) {
    return (two_digits[0] - '0') * 10 + (two_digits[1] - '0');
}

static bool in_range(const char *two_digits, int low, int high) {
    int value = number(two_digits);
    return value >= low && value <= high;
}

// The last day of a month (1 to 12) of a year in four digits.
static int last_day(const char *year, int month) {
    int century = number(year), of_century = number(year + 2);
    bool is_leap = of_century % 4 == 0 && (of_century != 0 || century % 4 == 0);
    bool is_short = month == 4 || month == 6 || month == 9 || month == 11;
    return month == 2 ? (is_leap ? 29 : 28) : is_short ? 30 : 31;
}

// RFC 3339's date-time: 2026-01-31T12:34:56, a fraction if any, Z or +hh:mm. 60 is a leap second's
// name.
static bool is_time(struct weir_str text) {
    const char *t = text.data;
    if (text.size < sizeof("2026-01-31T12:34:56Z") - 1 || !digits(t, 4) || t[4] != '-' ||
        !digits(t + 5, 2) || t[7] != '-' || !digits(t + 8, 2) || (t[10] != 'T' && t[10] != 't') ||
        !digits(t + 11, 2) || t[13] != ':' || !digits(t + 14, 2) || t[16] != ':' ||
        !digits(t + 17, 2)) {
        return false;
    }
    if (!in_range(t + 5, 1, 12) || !in_range(t + 8, 1, last_day(t, number(t + 5))) ||
        !in_range(t + 11, 0, 23) || !in_range(t + 14, 0, 59) || !in_range(t + 17, 0, 60)) {
        return false;
    }
    size_t at = 19;
    if (t[at] == '.') {
        size_t first = ++at;
        while (at < text.size && digits(t + at, 1)) {
            at++;
        }
        if (at == first) {
            return false;
        }
    }
    size_t rest = text.size - at;
    if (rest == 1) {
        return t[at] == 'Z' || t[at] == 'z';
    }
    return rest == 6 && (t[at] == '+' || t[at] == '-') && digits(t + at + 1, 2) &&
           t[at + 3] == ':' && digits(t + at + 4, 2) && in_range(t + at + 1, 0, 23) &&
           in_range(t + at + 4, 0, 59);
}

static bool is_own_attribute(struct weir_str name) {
#define OWN(text) {.data = text, .size = sizeof(text) - 1}
    static const struct weir_str own[] = {
        OWN("specversion"),     OWN("type"),       OWN("source"),  OWN("id"),   OWN("data"),
        OWN("datacontenttype"), OWN("dataschema"), OWN("subject"), OWN("time"),
    };
#undef OWN
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        if (weir_str_equal(name, own[i])) {
            return true;
        }
    }
    return false;
}

static weir_status check_extension(const struct weir_attribute *extension, struct weir_error *err) {
    struct weir_str name = extension->name;
    bool is_name = name.size > 0 && name.size <= WEIR_EXTENSION_NAME_BYTES_MAX;
    for (size_t i = 0; is_name && i < name.size; i++) {
        char c = name.data[i];
        is_name = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    }
    if (!is_name || is_own_attribute(name)) {
        return weir_fail(
            err, WEIR_INVALID,
            "the event has an extension attribute named \"%.*s\"; a name has 1 to %d of the "
            "characters a-z and 0-9, and is not an attribute's own",
            (int)(name.size < 80 ? name.size : 80), name.data ? name.data : "",
            WEIR_EXTENSION_NAME_BYTES_MAX);
    }
    return WEIR_OK;
}

static bool is_empty(const struct weir_optional_str *text) {
    return text->is_some && text->value.size == 0;
}

// The first attribute that is given and empty; NULL: none.
static const char *empty_attribute(const struct weir_event_fields *fields) {
    return fields->ty.size == 0                 ? "type"
           : fields->source.size == 0           ? "source"
           : fields->id.size == 0               ? "id"
           : is_empty(&fields->datacontenttype) ? "datacontenttype"
           : is_empty(&fields->dataschema)      ? "dataschema"
           : is_empty(&fields->subject)         ? "subject"
                                                : NULL;
}

weir_status weir_event_fields_check(const struct weir_event_fields *fields,
                                    struct weir_error *err) {
    if (!weir_str_equal(fields->specversion, WEIR_STR(WEIR_CLOUDEVENTS_VERSION))) {
        return weir_fail(
            err, WEIR_INVALID,
            "the event's specversion is \"%.*s\"; weir speaks " WEIR_CLOUDEVENTS_VERSION,
            (int)(fields->specversion.size < 80 ? fields->specversion.size : 80),
            fields->specversion.data ? fields->specversion.data : "");
    }
    const char *empty = empty_attribute(fields);
    if (empty) {
        return weir_fail(err, WEIR_INVALID, "the event's %s is empty", empty);
    }
    if (fields->time.is_some && !is_time(fields->time.value)) {
        return weir_fail(err, WEIR_INVALID,
                         "the event's time is not of the form 2026-01-31T12:34:56Z (RFC 3339)");
    }
    for (size_t i = 0; i < fields->extensions.count; i++) {
        weir_status status = check_extension(&fields->extensions.items[i], err);
        if (status != WEIR_OK) {
            return status;
        }
    }
    return WEIR_OK;
}

static bool is_utf8(const struct weir_optional_str *text) {
    return !text->is_some || weir_utf8_valid(text->value);
}

static bool is_payload_utf8(const struct weir_optional_payload *data) {
    return !data->is_some || data->value.kind != WEIR_PAYLOAD_TEXT ||
           weir_utf8_valid(data->value.bytes);
}

static bool are_utf8(const struct weir_attributes *extensions) {
    for (size_t i = 0; i < extensions->count; i++) {
        if (!weir_utf8_valid(extensions->items[i].name) ||
            !weir_utf8_valid(extensions->items[i].value)) {
            return false;
        }
    }
    return true;
}

weir_status weir_event_fields_check_utf8(const struct weir_event_fields *fields,
                                         struct weir_error *err) {
    const char *other = !weir_utf8_valid(fields->specversion) ? "specversion"
                        : !weir_utf8_valid(fields->ty)        ? "type"
                        : !weir_utf8_valid(fields->source)    ? "source"
                        : !weir_utf8_valid(fields->id)        ? "id"
                        : !is_payload_utf8(&fields->data)     ? "data"
                        : !is_utf8(&fields->datacontenttype)  ? "datacontenttype"
                        : !is_utf8(&fields->dataschema)       ? "dataschema"
                        : !is_utf8(&fields->subject)          ? "subject"
                        : !is_utf8(&fields->time)             ? "time"
                        : !are_utf8(&fields->extensions)      ? "extensions"
                                                              : NULL;
    return other ? weir_fail(err, WEIR_INVALID, "the event's %s: the text is not UTF-8", other)
                 : WEIR_OK;
}

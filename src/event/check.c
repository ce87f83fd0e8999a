// SPDX-License-Identifier: Apache-2.0
//
// Whether fields are a CloudEvent. Events that weir's own providers make are right by construction
// and not checked; events that come from a guest are, before anything is done with them. That texts
// are UTF-8 is the business of whoever took them in (lifting, a JSON reader): a second pass over a
// body of a megabyte is not free. Any thread.
#include "event/event.h"

#include "base/clock.h"

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
    int64_t wall_ns;
    if (fields->time.is_some && !weir_time_read(fields->time.value, &wall_ns)) {
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

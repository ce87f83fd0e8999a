// SPDX-License-Identifier: Apache-2.0
//
// Events as JSON; see json.h. This is how events leave weir for people and scripts, not the way to
// a guest, so a tree is built and dumped by jansson, and nothing here is tuned. Members stand in
// the order of the specification.
//
// Any thread; nothing is shared.
#include "event/json.h"

#include "base/base64.h"

#include <jansson.h>
#include <stdlib.h>
#include <strings.h>

// Takes over `value`, which may be NULL where memory ran out.
static weir_status set(json_t *object, struct weir_str name, json_t *value,
                       struct weir_error *err) {
    if (json_object_setn_new(object, name.data, name.size, value) != 0) {
        return weir_fail_no_memory(err, "an event as JSON");
    }
    return WEIR_OK;
}

static weir_status set_text(json_t *object, struct weir_str name, struct weir_str text,
                            struct weir_error *err) {
    if (!weir_utf8_valid(text) || !weir_utf8_valid(name)) {
        return weir_fail(err, WEIR_INVALID, "the event's attribute %.*s is not UTF-8",
                         WEIR_STR_ARG(name));
    }
    return set(object, name, json_stringn_nocheck(text.data ? text.data : "", text.size), err);
}

static weir_status set_optional(json_t *object, struct weir_str name,
                                const struct weir_optional_str *text, struct weir_error *err) {
    return text->is_some ? set_text(object, name, text->value, err) : WEIR_OK;
}

static bool has_suffix(struct weir_str text, struct weir_str suffix) {
    return text.size >= suffix.size &&
           strncasecmp(text.data + text.size - suffix.size, suffix.data, suffix.size) == 0;
}

// "application/json; charset=utf-8" and "image/x+json" are; "json" is not.
static bool is_json_type(const struct weir_optional_str *type) {
    if (!type->is_some) {
        return false;
    }
    struct weir_str media = type->value;
    const char *end = media.size > 0 ? memchr(media.data, ';', media.size) : NULL;
    if (end) {
        media.size = (size_t)(end - media.data);
    }
    while (media.size > 0 && media.data[media.size - 1] == ' ') {
        media.size--;
    }
    return has_suffix(media, WEIR_STR("/json")) || has_suffix(media, WEIR_STR("+json"));
}

// RFC 4648, with padding. NULL where memory ran out.
static json_t *base64(struct weir_str bytes) {
    size_t size = weir_base64_size(bytes.size);
    char *text = malloc(size + 1);
    if (!text) {
        return NULL;
    }
    weir_base64_encode(bytes, text);
    json_t *value = json_stringn_nocheck(text, size);
    free(text);
    return value;
}

static weir_status set_data(json_t *object, const struct weir_event_fields *fields,
                            struct weir_error *err) {
    const struct weir_payload *data = &fields->data.value;
    struct weir_str bytes = data->bytes;
    if (!fields->data.is_some) {
        return WEIR_OK;
    }
    if (data->kind == WEIR_PAYLOAD_TEXT && is_json_type(&fields->datacontenttype)) {
        json_t *embedded = json_loadb(bytes.data ? bytes.data : "", bytes.size,
                                      JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        if (embedded) {
            return set(object, WEIR_STR("data"), embedded, err);
        }
        // As a string it would be read as a JSON document that is a string.
    } else if (data->kind == WEIR_PAYLOAD_TEXT && weir_utf8_valid(bytes)) {
        return set_text(object, WEIR_STR("data"), bytes, err);
    }
    return set(object, WEIR_STR("data_base64"), base64(bytes), err);
}

static weir_status fill(json_t *object, const struct weir_event_fields *fields,
                        struct weir_error *err) {
    const struct {
        struct weir_str name, value;
    } required[] = {
        {WEIR_STR("specversion"), fields->specversion},
        {WEIR_STR("id"), fields->id},
        {WEIR_STR("source"), fields->source},
        {WEIR_STR("type"), fields->ty},
    };
    const struct {
        struct weir_str name;
        const struct weir_optional_str *value;
    } optional[] = {
        {WEIR_STR("subject"), &fields->subject},
        {WEIR_STR("time"), &fields->time},
        {WEIR_STR("datacontenttype"), &fields->datacontenttype},
        {WEIR_STR("dataschema"), &fields->dataschema},
    };
    weir_status status = WEIR_OK;
    for (size_t i = 0; i < sizeof required / sizeof required[0] && status == WEIR_OK; i++) {
        status = set_text(object, required[i].name, required[i].value, err);
    }
    for (size_t i = 0; i < sizeof optional / sizeof optional[0] && status == WEIR_OK; i++) {
        status = set_optional(object, optional[i].name, optional[i].value, err);
    }
    for (size_t i = 0; i < fields->extensions.count && status == WEIR_OK; i++) {
        const struct weir_attribute *extension = &fields->extensions.items[i];
        status = set_text(object, extension->name, extension->value, err);
    }
    return status == WEIR_OK ? set_data(object, fields, err) : status;
}

// DEL and the C1 controls are allowed in JSON and dumped as they are, but a terminal may obey them.
// They can only stand in strings, where \u00NN means the same. Takes over `text`; returns NULL
// where memory ran out.
static char *escape_controls(char *text) {
    size_t size = 0, controls = 0;
    for (; text[size]; size++) {
        unsigned char byte = (unsigned char)text[size], next = (unsigned char)text[size + 1];
        controls += byte == 0x7F || (byte == 0xC2 && next < 0xA0) ? 1 : 0;
    }
    if (controls == 0) {
        return text;
    }
    static const char hex[] = "0123456789ABCDEF";
    char *escaped = malloc(size + controls * (sizeof "\\u0000" - 2) + 1), *to = escaped;
    for (const char *from = text; escaped && *from; from++) {
        unsigned char byte = (unsigned char)*from;
        if (byte == 0xC2 && (unsigned char)from[1] < 0xA0) {
            byte = (unsigned char)*++from; // the code point is the second byte's value
        } else if (byte != 0x7F) {
            *to++ = *from;
            continue;
        }
        memcpy(to, (char[]){'\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15]}, 6);
        to += 6;
    }
    if (escaped) {
        *to = '\0';
    }
    free(text);
    return escaped;
}

weir_status weir_event_to_json(const struct weir_event_fields *fields, char **ret_text,
                               struct weir_error *err) {
    json_t *object = json_object();
    if (!object) {
        return weir_fail_no_memory(err, "an event as JSON");
    }
    weir_status status = fill(object, fields, err);
    if (status == WEIR_OK) {
        char *text = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(17));
        *ret_text = text ? escape_controls(text) : NULL;
        if (!*ret_text) {
            status = weir_fail_no_memory(err, "an event as JSON");
        }
    }
    json_decref(object);
    return status;
}

// SPDX-License-Identifier: Apache-2.0
//
// See row.h. JSON is made by jansson: a row of ten columns costs it a few microseconds, which is
// little beside what a database does for one.
#include "provider/row.h"

#include "base/base64.h"
#include "base/clock.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    EXTENSIONS_MAX = 5,
    // The whole numbers that a double holds exactly, and JavaScript's JSON.parse with it.
    SAFE_INTEGER_BITS = 53,
    DIGITS_MIN = 15, // that survive from text to double and back
    DIGITS_MAX = 17, // that tell any two doubles apart
};

// The least digits that tell the number from all others.
static int digits_of(double real) {
    char text[40];
    int digits = DIGITS_MIN;
    for (; digits < DIGITS_MAX; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, real);
        if (strtod(text, NULL) == real) { // NOLINT(clang-diagnostic-float-equal): bit for bit
            break;
        }
    }
    return digits;
}

// ---- keys ----

static bool is_coded(unsigned char byte, bool is_binary) {
    return byte < 0x20 || byte == 0x7F || byte == '%' || byte == '/' || byte == ',' ||
           (is_binary && byte >= 0x80);
}

// Where a key is written; `size` grows beyond `room` where it does not fit.
struct writer {
    char *buffer;
    size_t size, room;
};

static void put(struct writer *writer, char letter) {
    if (writer->size < writer->room) {
        writer->buffer[writer->size] = letter;
    }
    writer->size++;
}

static void put_coded(struct writer *writer, struct weir_str text, bool is_binary) {
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < text.size; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        if (is_coded(byte, is_binary)) {
            put(writer, '%');
            put(writer, hex[byte >> 4]);
            put(writer, hex[byte & 15]);
        } else {
            put(writer, text.data[i]);
        }
    }
}

static void put_value(struct writer *writer, const struct weir_sql_value *value) {
    char text[32];
    switch (value->kind) {
    case WEIR_SQL_NULL:
    case WEIR_SQL_UNCHANGED:
        return; // a primary key has neither, but SQLite's may be NULL: an empty part
    case WEIR_SQL_BOOLEAN:
        put_coded(writer, value->boolean ? WEIR_STR("true") : WEIR_STR("false"), false);
        return;
    case WEIR_SQL_INTEGER:
        snprintf(text, sizeof text, "%" PRId64, value->integer);
        put_coded(writer, weir_str_of(text), false);
        return;
    case WEIR_SQL_REAL:
        snprintf(text, sizeof text, "%.*g", digits_of(value->real), value->real);
        put_coded(writer, weir_str_of(text), false);
        return;
    default:
        put_coded(writer, value->bytes, value->kind == WEIR_SQL_BINARY);
    }
}

size_t weir_row_key(struct weir_str table, const struct weir_sql_value *values, size_t count,
                    char *buffer, size_t size) {
    struct writer writer = {.buffer = buffer, .room = size};
    put_coded(&writer, table, false);
    for (size_t i = 0; i < count; i++) {
        put(&writer, i == 0 ? '/' : ',');
        put_value(&writer, &values[i]);
    }
    return writer.size <= size ? writer.size : 0;
}

// ---- data ----

// {"$NAME": VALUE}; takes over the value.
static json_t *tagged(const char *name, json_t *value) {
    json_t *object = json_object();
    if (json_object_set_new_nocheck(object, name, value) != 0) { // a NULL fails, too
        json_decref(object);
        return NULL;
    }
    return object;
}

static json_t *of_integer(int64_t integer) {
    const int64_t safe = (INT64_C(1) << SAFE_INTEGER_BITS) - 1;
    if (integer >= -safe && integer <= safe) {
        return json_integer(integer);
    }
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, integer);
    return tagged("$numberLong", json_string(text));
}

static json_t *of_real(double real) {
    if (isfinite(real)) {
        return json_real(real);
    }
    const char *text = isnan(real) ? "NaN" : real > 0 ? "Infinity" : "-Infinity";
    return tagged("$numberDouble", json_string(text));
}

static json_t *of_text(struct weir_str text) {
    return json_stringn_nocheck(text.data ? text.data : "", text.size);
}

static json_t *of_bytes(struct weir_str bytes) {
    size_t size = weir_base64_size(bytes.size);
    char *text = malloc(size + 1);
    if (!text) {
        return NULL;
    }
    weir_base64_encode(bytes, text);
    json_t *binary = json_pack("{s:s%, s:s}", "base64", text, size, "subType", "00");
    free(text);
    return tagged("$binary", binary);
}

// A number that jansson cannot hold makes it a text: the digits stay what they are.
static json_t *of_json(struct weir_str text) {
    json_t *value = json_loadb(text.data ? text.data : "", text.size,
                               JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
    return value ? value : of_text(text);
}

static json_t *of_value(const struct weir_sql_value *value) {
    switch (value->kind) {
    case WEIR_SQL_BOOLEAN:
        return json_boolean(value->boolean);
    case WEIR_SQL_INTEGER:
        return of_integer(value->integer);
    case WEIR_SQL_REAL:
        return of_real(value->real);
    case WEIR_SQL_TEXT:
        return of_text(value->bytes);
    case WEIR_SQL_BINARY:
        return of_bytes(value->bytes);
    case WEIR_SQL_DECIMAL:
        return tagged("$numberDecimal", of_text(value->bytes));
    case WEIR_SQL_JSON:
        return of_json(value->bytes);
    case WEIR_SQL_NULL:
    case WEIR_SQL_UNCHANGED:
        break;
    }
    return json_null();
}

static bool has_text(enum weir_sql_kind kind) {
    return kind == WEIR_SQL_TEXT || kind == WEIR_SQL_DECIMAL || kind == WEIR_SQL_JSON;
}

static weir_status of_image(const struct weir_row_image *image, json_t **ret_object,
                            struct weir_error *err) {
    json_t *object = image ? json_object() : json_null();
    for (size_t i = 0; image && i < image->count; i++) {
        const struct weir_sql_value *value = &image->values[i];
        struct weir_str column = image->columns[i];
        if (value->kind == WEIR_SQL_UNCHANGED) {
            continue;
        }
        if (!weir_utf8_valid(column) || (has_text(value->kind) && !weir_utf8_valid(value->bytes))) {
            json_decref(object);
            return weir_fail(err, WEIR_INVALID, "column %zu of a row is not UTF-8", i + 1);
        }
        if (json_object_setn_new_nocheck(object, column.data, column.size, of_value(value)) != 0) {
            json_decref(object);
            return weir_fail_no_memory(err, "a row");
        }
    }
    *ret_object = object;
    return object ? WEIR_OK : weir_fail_no_memory(err, "a row");
}

// The digits that the numbers of an image need. jansson writes all of a text with the same.
static int digits_of_image(const struct weir_row_image *image) {
    int most = DIGITS_MIN;
    for (size_t i = 0; image && i < image->count; i++) {
        const struct weir_sql_value *value = &image->values[i];
        int digits = value->kind == WEIR_SQL_REAL   ? digits_of(value->real)
                     : value->kind == WEIR_SQL_JSON ? DIGITS_MAX // whatever is in it
                                                    : DIGITS_MIN;
        most = digits > most ? digits : most;
    }
    return most;
}

// The data as text, which the caller frees.
static weir_status make_data(const struct weir_row_change *change, char **ret_text,
                             struct weir_error *err) {
    json_t *before = NULL, *after = NULL;
    *ret_text = NULL;
    weir_status status = of_image(change->before, &before, err);
    status = status == WEIR_OK ? of_image(change->after, &after, err) : status;
    json_t *data = status == WEIR_OK
                       ? json_pack("{s:s%, s:O, s:O}", "table", change->table.data,
                                   change->table.size, "before", before, "after", after)
                       : NULL;
    json_decref(before);
    json_decref(after);
    if (status == WEIR_OK) {
        int was = digits_of_image(change->before), is = digits_of_image(change->after);
        size_t flags = JSON_COMPACT | JSON_REAL_PRECISION((size_t)(was > is ? was : is));
        *ret_text = data ? json_dumps(data, flags) : NULL;
        status = *ret_text ? WEIR_OK : weir_fail_no_memory(err, "a row");
    }
    json_decref(data);
    return status;
}

// ---- the event ----

struct texts {
    char time[WEIR_TIME_BYTES];
    char size[24];
    char *id, *data;
    size_t data_size;
};

static size_t put_extensions(const struct weir_row_change *change, struct texts *texts,
                             struct weir_attribute at[static EXTENSIONS_MAX]) {
    size_t count = 0;
    at[count++] = (struct weir_attribute){WEIR_STR(WEIR_EXTENSION_REVISION), change->revision};
    if (change->transaction.size > 0) {
        at[count++] =
            (struct weir_attribute){WEIR_STR(WEIR_EXTENSION_TRANSACTION), change->transaction};
    }
    if (change->is_snapshot) {
        at[count++] = (struct weir_attribute){WEIR_STR(WEIR_EXTENSION_SNAPSHOT), WEIR_STR("true")};
    }
    if (texts->data_size > change->event_bytes_max) {
        snprintf(texts->size, sizeof texts->size, "%zu", texts->data_size);
        at[count++] = (struct weir_attribute){WEIR_STR("dataomitted"), WEIR_STR("size")};
        at[count++] = (struct weir_attribute){WEIR_STR("datasize"), weir_str_of(texts->size)};
    }
    return count;
}

static weir_status make(const struct weir_row_change *change, struct texts *texts,
                        struct weir_event **ret_event, struct weir_error *err) {
    struct weir_attribute extensions[EXTENSIONS_MAX];
    size_t count = put_extensions(change, texts, extensions);
    struct weir_event_fields fields = {
        .specversion = WEIR_STR(WEIR_CLOUDEVENTS_VERSION),
        .ty = weir_str_of(change->type),
        .source = change->source,
        .id = weir_str_of(texts->id),
        .subject = {true, change->key},
        .extensions = {.items = extensions, .count = count},
    };
    if (change->wall_ns != 0) {
        weir_time_format(change->wall_ns, texts->time);
        fields.time = (struct weir_optional_str){true, weir_str_of(texts->time)};
    }
    if (texts->data_size <= change->event_bytes_max) {
        fields.data = (struct weir_optional_payload){
            true, {WEIR_PAYLOAD_TEXT, {texts->data, texts->data_size}}};
        fields.datacontenttype = (struct weir_optional_str){true, WEIR_STR("application/json")};
    }
    struct weir_event_origin origin = {.key = change->key, .position = change->position};
    return weir_event_make(&fields, &origin, ret_event, err);
}

weir_status weir_row_event(const struct weir_row_change *change, struct weir_event **ret_event,
                           struct weir_error *err) {
    struct texts texts = {.id = NULL};
    *ret_event = NULL;
    if (!weir_utf8_valid(change->key) || !weir_utf8_valid(change->table)) {
        return weir_fail(err, WEIR_INVALID, "the key of a row is not UTF-8");
    }
    weir_status status = make_data(change, &texts.data, err);
    texts.data_size = texts.data ? strlen(texts.data) : 0; // a NUL in a text is written as \u0000
    if (status == WEIR_OK && asprintf(&texts.id, "%.*s@%.*s", WEIR_STR_ARG(change->key),
                                      WEIR_STR_ARG(change->revision)) < 0) {
        texts.id = NULL;
        status = weir_fail_no_memory(err, "an event");
    }
    status = status == WEIR_OK ? make(change, &texts, ret_event, err) : status;
    free(texts.id);
    free(texts.data);
    return status;
}

// SPDX-License-Identifier: Apache-2.0
//
// See row.h. The JSON is written as text. It was a tree of jansson's once, and that was two thirds
// of what a source did for a row of three columns.
#include "provider/row.h"

#include "base/clock.h"
#include "base/digits.h"
#include "base/text.h"

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
    REAL_BYTES = 40,
};

// The number with the least digits that tell it from all others. The view points into the buffer.
static struct weir_str format_real(double real, char buffer[static REAL_BYTES]) {
    for (int digits = DIGITS_MIN;; digits++) {
        int size = snprintf(buffer, REAL_BYTES, "%.*g", digits, real);
        if (digits == DIGITS_MAX ||
            strtod(buffer, NULL) == real) { // NOLINT(clang-diagnostic-float-equal): bit for bit
            return (struct weir_str){buffer, (size_t)size};
        }
    }
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
    char text[REAL_BYTES];
    switch (value->kind) {
    case WEIR_SQL_NULL:
    case WEIR_SQL_UNCHANGED:
        return; // a primary key has neither, but SQLite's may be NULL: an empty part
    case WEIR_SQL_BOOLEAN:
        put_coded(writer, value->boolean ? WEIR_STR("true") : WEIR_STR("false"), false);
        return;
    case WEIR_SQL_INTEGER:
        put_coded(writer, (struct weir_str){text, weir_decimal_signed(value->integer, text)},
                  false);
        return;
    case WEIR_SQL_REAL:
        put_coded(writer, format_real(value->real, text), false);
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

static void put_integer(struct weir_text *text, int64_t integer) {
    const int64_t safe = (INT64_C(1) << SAFE_INTEGER_BITS) - 1;
    if (integer >= -safe && integer <= safe) {
        weir_text_put_number(text, integer);
        return;
    }
    weir_text_put(text, WEIR_STR("{\"$numberLong\":\""));
    weir_text_put_number(text, integer);
    weir_text_put(text, WEIR_STR("\"}"));
}

// 1e+05 is written as 1e5, and 1 as 1.0, or who reads it takes it for an integer.
static void put_finite(struct weir_text *text, double real) {
    char buffer[REAL_BYTES];
    struct weir_str number = format_real(real, buffer);
    const char *exponent = memchr(number.data, 'e', number.size);
    if (exponent) {
        exponent++;
        weir_text_put(text, (struct weir_str){number.data, (size_t)(exponent - number.data)});
        weir_text_put_number(text, strtol(exponent, NULL, 10));
    } else {
        weir_text_put(text, number);
        weir_text_put(text, memchr(number.data, '.', number.size) ? WEIR_STR("") : WEIR_STR(".0"));
    }
}

static void put_real(struct weir_text *text, double real) {
    if (isnan(real)) {
        weir_text_put(text, WEIR_STR("{\"$numberDouble\":\"NaN\"}"));
    } else if (isinf(real)) {
        weir_text_put(text, real > 0 ? WEIR_STR("{\"$numberDouble\":\"Infinity\"}")
                                     : WEIR_STR("{\"$numberDouble\":\"-Infinity\"}"));
    } else {
        put_finite(text, real);
    }
}

static int put_piece(const char *bytes, size_t size, void *text) {
    weir_text_put(text, (struct weir_str){bytes, size});
    return 0;
}

// Goes through jansson, so that what stands in a column cannot break the event around it. A number
// that jansson cannot hold makes it a text: the digits stay what they are.
static void put_json(struct weir_text *text, struct weir_str json) {
    json_t *value = json_loadb(json.data ? json.data : "", json.size,
                               JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
    size_t flags = JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(DIGITS_MAX);
    if (!value) {
        weir_text_put_json(text, json);
    } else if (json_dump_callback(value, put_piece, text, flags) != 0) {
        text->lacks_memory = true;
    }
    json_decref(value);
}

static void put_data_value(struct weir_text *text, const struct weir_sql_value *value) {
    switch (value->kind) {
    case WEIR_SQL_BOOLEAN:
        weir_text_put(text, value->boolean ? WEIR_STR("true") : WEIR_STR("false"));
        break;
    case WEIR_SQL_INTEGER:
        put_integer(text, value->integer);
        break;
    case WEIR_SQL_REAL:
        put_real(text, value->real);
        break;
    case WEIR_SQL_TEXT:
        weir_text_put_json(text, value->bytes);
        break;
    case WEIR_SQL_BINARY:
        weir_text_put_json_binary(text, value->bytes);
        break;
    case WEIR_SQL_DECIMAL:
        weir_text_put(text, WEIR_STR("{\"$numberDecimal\":"));
        weir_text_put_json(text, value->bytes);
        weir_text_put(text, WEIR_STR("}"));
        break;
    case WEIR_SQL_JSON:
        put_json(text, value->bytes);
        break;
    case WEIR_SQL_NULL:
    case WEIR_SQL_UNCHANGED:
        weir_text_put(text, WEIR_STR("null"));
        break;
    }
}

static bool has_text(enum weir_sql_kind kind) {
    return kind == WEIR_SQL_TEXT || kind == WEIR_SQL_DECIMAL || kind == WEIR_SQL_JSON;
}

static weir_status put_image(struct weir_text *text, const struct weir_row_image *image,
                             struct weir_error *err) {
    if (!image) {
        weir_text_put(text, WEIR_STR("null"));
        return WEIR_OK;
    }
    weir_text_put(text, WEIR_STR("{"));
    bool is_first = true;
    for (size_t i = 0; i < image->count; i++) {
        const struct weir_sql_value *value = &image->values[i];
        struct weir_str column = image->columns[i];
        if (value->kind == WEIR_SQL_UNCHANGED) {
            continue;
        }
        if (!weir_utf8_valid(column) || (has_text(value->kind) && !weir_utf8_valid(value->bytes))) {
            return weir_fail(err, WEIR_INVALID, "column %zu of a row is not UTF-8", i + 1);
        }
        weir_text_put(text, is_first ? WEIR_STR("") : WEIR_STR(","));
        weir_text_put_json(text, column);
        weir_text_put(text, WEIR_STR(":"));
        put_data_value(text, value);
        is_first = false;
    }
    weir_text_put(text, WEIR_STR("}"));
    return WEIR_OK;
}

static weir_status put_data(struct weir_text *text, const struct weir_row_change *change,
                            struct weir_error *err) {
    weir_text_put(text, WEIR_STR("{\"table\":"));
    weir_text_put_json(text, change->table);
    weir_text_put(text, WEIR_STR(",\"before\":"));
    weir_status status = put_image(text, change->before, err);
    weir_text_put(text, WEIR_STR(",\"after\":"));
    status = status == WEIR_OK ? put_image(text, change->after, err) : status;
    weir_text_put(text, WEIR_STR("}"));
    return status;
}

// ---- the event ----

struct texts {
    char time[WEIR_TIME_BYTES];
    char size[24];
    struct weir_str id, data;
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
    if (texts->data.size > change->event_bytes_max) {
        snprintf(texts->size, sizeof texts->size, "%zu", texts->data.size);
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
        .id = texts->id,
        .subject = {true, change->key},
        .extensions = {.items = extensions, .count = count},
    };
    if (change->wall_ns != 0) {
        weir_time_format(change->wall_ns, texts->time);
        fields.time = (struct weir_optional_str){true, weir_str_of(texts->time)};
    }
    if (texts->data.size <= change->event_bytes_max) {
        fields.data = (struct weir_optional_payload){true, {WEIR_PAYLOAD_TEXT, texts->data}};
        fields.datacontenttype = (struct weir_optional_str){true, WEIR_STR("application/json")};
    }
    struct weir_event_origin origin = {.key = change->key, .position = change->position};
    return weir_event_make(&fields, &origin, ret_event, err);
}

weir_status weir_row_event(const struct weir_row_change *change, struct weir_event **ret_event,
                           struct weir_error *err) {
    struct weir_text text = {0}; // the id, and the data behind it
    *ret_event = NULL;
    if (!weir_utf8_valid(change->key) || !weir_utf8_valid(change->table)) {
        return weir_fail(err, WEIR_INVALID, "the key of a row is not UTF-8");
    }
    weir_text_put(&text, change->key);
    weir_text_put(&text, WEIR_STR("@"));
    weir_text_put(&text, change->revision);
    size_t id_size = text.size;
    weir_status status = put_data(&text, change, err);
    if (status == WEIR_OK && text.lacks_memory) {
        status = weir_fail_no_memory(err, "a row");
    }
    if (status == WEIR_OK) {
        struct texts texts = {.id = {text.data, id_size},
                              .data = {text.data + id_size, text.size - id_size}};
        status = make(change, &texts, ret_event, err);
    }
    weir_text_finish(&text);
    return status;
}

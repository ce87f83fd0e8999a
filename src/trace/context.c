// SPDX-License-Identifier: Apache-2.0
//
// W3C Trace Context, level 2, as texts: https://www.w3.org/TR/trace-context-2/. What is malformed
// counts as absent, as the recommendation has it, so that nobody's mistake becomes an error of an
// event. Pure functions, any thread.
#include "trace/trace.h"

#include "base/digits.h"

enum {
    TRACEPARENT_SIZE = WEIR_TRACEPARENT_BYTES - 1,
    TRACE_AT = 3, // where the parts begin
    SPAN_AT = 36,
    FLAGS_AT = 53,
    STATE_MEMBERS_MAX = 32,
    STATE_KEY_BYTES_MAX = 256,
    STATE_VALUE_BYTES_MAX = 256,
};

// ---- traceparent ----

// Lower-case hexadecimal digits, at most 16.
static bool read_hex(const char *text, size_t size, uint64_t *ret_number) {
    uint64_t number = 0;
    for (size_t i = 0; i < size; i++) {
        char letter = text[i];
        unsigned digit;
        if (letter >= '0' && letter <= '9') {
            digit = (unsigned)(letter - '0');
        } else if (letter >= 'a' && letter <= 'f') {
            digit = (unsigned)(letter - 'a') + 10;
        } else {
            return false;
        }
        number = number << 4 | digit;
    }
    *ret_number = number;
    return true;
}

// Version 00 has nothing behind its flags; a later one may have, behind a dash.
static bool has_size_of_version(struct weir_str text, uint64_t version) {
    return text.size == TRACEPARENT_SIZE ||
           (version > 0 && text.size > TRACEPARENT_SIZE && text.data[TRACEPARENT_SIZE] == '-');
}

bool weir_traceparent_read(struct weir_str text, struct weir_trace_context *ret_context) {
    const char *at = text.data;
    uint64_t version, high, low, span, flags;
    if (text.size < TRACEPARENT_SIZE || at[TRACE_AT - 1] != '-' || at[SPAN_AT - 1] != '-' ||
        at[FLAGS_AT - 1] != '-' || !read_hex(at, 2, &version) ||
        !read_hex(at + TRACE_AT, 16, &high) || !read_hex(at + TRACE_AT + 16, 16, &low) ||
        !read_hex(at + SPAN_AT, 16, &span) || !read_hex(at + FLAGS_AT, 2, &flags)) {
        return false;
    }
    if (version == 0xff || !has_size_of_version(text, version) || (high | low) == 0 || span == 0) {
        return false;
    }
    *ret_context = (struct weir_trace_context){
        .trace = {.high = high, .low = low},
        .span = span,
        .flags = (uint8_t)(flags & (WEIR_TRACE_FLAG_SAMPLED | WEIR_TRACE_FLAG_RANDOM)),
    };
    return true;
}

const char *weir_traceparent_write(const struct weir_trace_context *context,
                                   char ret_text[static WEIR_TRACEPARENT_BYTES]) {
    static const char shape[WEIR_TRACEPARENT_BYTES] =
        "00-00000000000000000000000000000000-0000000000000000-00";
    memcpy(ret_text, shape, sizeof shape);
    weir_hex(context->trace.high, WEIR_HEX_LOWER, ret_text + TRACE_AT);
    weir_hex(context->trace.low, WEIR_HEX_LOWER, ret_text + TRACE_AT + WEIR_HEX_BYTES);
    weir_hex(context->span, WEIR_HEX_LOWER, ret_text + SPAN_AT);
    ret_text[FLAGS_AT + 1] = (char)('0' + context->flags); // at most 3
    return ret_text;
}

const char *weir_trace_id_write(struct weir_trace_id id,
                                char ret_text[static WEIR_TRACE_ID_BYTES]) {
    weir_hex(id.high, WEIR_HEX_LOWER, ret_text);
    weir_hex(id.low, WEIR_HEX_LOWER, ret_text + WEIR_HEX_BYTES);
    ret_text[WEIR_TRACE_ID_BYTES - 1] = '\0';
    return ret_text;
}

// ---- tracestate ----

static bool is_key_letter(char letter) {
    return (letter >= 'a' && letter <= 'z') || (letter >= '0' && letter <= '9') || letter == '_' ||
           letter == '-' || letter == '*' || letter == '/' || letter == '@';
}

// A vendor's name, such as "rojo" or "tenant@system".
static bool is_key(struct weir_str key) {
    if (key.size == 0 || key.size > STATE_KEY_BYTES_MAX) {
        return false;
    }
    for (size_t i = 0; i < key.size; i++) {
        if (!is_key_letter(key.data[i])) {
            return false;
        }
    }
    return (key.data[0] >= 'a' && key.data[0] <= 'z') || (key.data[0] >= '0' && key.data[0] <= '9');
}

// Printable ASCII but "," and "=", not ending in a space.
static bool is_value(struct weir_str value) {
    if (value.size == 0 || value.size > STATE_VALUE_BYTES_MAX ||
        value.data[value.size - 1] == ' ') {
        return false;
    }
    for (size_t i = 0; i < value.size; i++) {
        char letter = value.data[i];
        if (letter < ' ' || letter > '~' || letter == ',' || letter == '=') {
            return false;
        }
    }
    return true;
}

static bool is_member(struct weir_str member) {
    const char *equals = member.size > 0 ? memchr(member.data, '=', member.size) : NULL;
    if (!equals) {
        return false;
    }
    size_t key_size = (size_t)(equals - member.data);
    return is_key((struct weir_str){member.data, key_size}) &&
           is_value((struct weir_str){equals + 1, member.size - key_size - 1});
}

bool weir_tracestate_is_valid(struct weir_str text) {
    size_t members = 0;
    if (text.size == 0 || text.size > WEIR_TRACESTATE_BYTES_MAX) {
        return false;
    }
    for (size_t at = 0; at <= text.size;) {
        const char *comma = memchr(text.data + at, ',', text.size - at);
        size_t end = comma ? (size_t)(comma - text.data) : text.size;
        struct weir_str member = weir_str_trim((struct weir_str){text.data + at, end - at});
        // An empty member is allowed, and counts for nothing.
        if (member.size > 0 && (!is_member(member) || ++members > STATE_MEMBERS_MAX)) {
            return false;
        }
        at = end + 1;
    }
    return members > 0;
}

struct weir_str weir_tracestate_of(const struct weir_event_fields *event) {
    struct weir_str state = weir_event_extension(event, WEIR_EXTENSION_TRACESTATE);
    return weir_tracestate_is_valid(state) ? state : (struct weir_str){0};
}

// SPDX-License-Identifier: Apache-2.0
//
// Events and rows, and the rows' sums. This is on the way of every event that is journaled: an
// event becomes cells that point into it, and nothing is allocated.
//
// What is read is what was written, byte by byte. Hence:
// - An optional attribute that is absent is NULL, an empty one is ''. A payload is TEXT or BLOB as
//   it is text or binary. `specversion` is NULL where it is "1.0", which is always.
// - Texts are bound and read with their length and may hold NUL; SQLite does not look into them.
//   They are read with sqlite3_column_blob, which does not copy them for the sake of a terminator.
// - Extensions are a JSON object of strings, written and read here. jansson was meant to do it, but
//   loses what an event may have: of two attributes of one name it keeps one, and it can neither
//   read a name with NUL nor write a text that is not UTF-8. An event that cannot be written down
//   would stop all of its batch for ever. So whatever stands between the quotes is the text itself,
//   but for the escapes that JSON demands; where it is UTF-8, it is JSON.
//
// A row's sum is over one stream: a byte for the table, then kind and length (or number) of each
// cell, then the bytes of all cells; the table and the lengths are in it so that neither a row in
// another table nor bytes that move from one column to the next have the same sum.
//
// No state but the caller's; any thread.
#include "state/rows.h"

#include <endian.h>
#include <stdlib.h>

// For the state of a long row to stand on the stack, its size must be that of the code.
#define XXH_INLINE_ALL
#include <xxhash.h>

const struct weir_table_facts weir_tables[WEIR_TABLE_COUNT] = {
    [WEIR_TABLE_META] = {.name = "meta", .cell_count = WEIR_META_CELLS},
    [WEIR_TABLE_SUBSCRIPTION] = {.name = "subscription", .cell_count = WEIR_SUBSCRIPTION_CELLS},
    [WEIR_TABLE_JOURNAL] = {.name = "journal",
                            .cell_count = WEIR_JOURNAL_CELLS,
                            .has_event = true,
                            .event_at = WEIR_JOURNAL_EVENT},
    [WEIR_TABLE_NOTE] = {.name = "note", .cell_count = WEIR_NOTE_CELLS},
    [WEIR_TABLE_OUTBOX] = {.name = "outbox",
                           .cell_count = WEIR_OUTBOX_CELLS,
                           .has_event = true,
                           .event_at = WEIR_OUTBOX_EVENT},
    [WEIR_TABLE_DEAD] = {.name = "dead",
                         .cell_count = WEIR_DEAD_CELLS,
                         .has_event = true,
                         .event_at = WEIR_DEAD_EVENT},
};

void weir_scratch_finish(struct weir_scratch *scratch) {
    free(scratch->bytes);
    *scratch = (struct weir_scratch){0};
}

// No maximum of its own: what an event may hold is bounded where it is made.
static bool scratch_reserve(struct weir_scratch *scratch, size_t size) {
    enum { SCRATCH_BYTES_MIN = 1024 };
    if (size <= scratch->capacity) {
        return true;
    }
    size_t capacity = size > SCRATCH_BYTES_MIN ? size : SCRATCH_BYTES_MIN;
    char *bytes = malloc(capacity);
    if (!bytes) {
        return false;
    }
    free(scratch->bytes); // nothing in it is worth a copy
    *scratch = (struct weir_scratch){.bytes = bytes, .capacity = capacity};
    return true;
}

// ---- sums ----

enum {
    HEAD_CELL_BYTES = 1 + sizeof(uint64_t),
    HEAD_BYTES_MAX = 1 + WEIR_CELLS_MAX * HEAD_CELL_BYTES,
    GATHER_BYTES_MAX = 2048, // rows up to here are hashed in one call, which is quicker
};

static bool has_bytes(const struct weir_cell *cell) {
    return cell->kind == WEIR_CELL_TEXT || cell->kind == WEIR_CELL_BLOB;
}

static size_t put_head(unsigned char *to, enum weir_table table, const struct weir_cell *cells,
                       size_t *ret_body_bytes) {
    unsigned char *const first = to;
    size_t body_bytes = 0;
    *to++ = (unsigned char)table;
    for (size_t i = 0; i < weir_tables[table].cell_count; i++) {
        bool is_bytes = has_bytes(&cells[i]);
        uint64_t number = htole64(is_bytes ? cells[i].bytes.size : (uint64_t)cells[i].integer);
        *to++ = cells[i].kind;
        memcpy(to, &number, sizeof number);
        to += sizeof number;
        body_bytes += is_bytes ? cells[i].bytes.size : 0;
    }
    *ret_body_bytes = body_bytes;
    return (size_t)(to - first);
}

int64_t weir_row_sum(enum weir_table table, const struct weir_cell *cells) {
    unsigned char gathered[GATHER_BYTES_MAX];
    _Static_assert(HEAD_BYTES_MAX < GATHER_BYTES_MAX, "the head of every row fits");
    size_t count = weir_tables[table].cell_count, body_bytes;
    size_t size = put_head(gathered, table, cells, &body_bytes);
    if (body_bytes <= sizeof gathered - size) {
        for (size_t i = 0; i < count; i++) {
            if (has_bytes(&cells[i])) {
                memcpy(gathered + size, cells[i].bytes.data, cells[i].bytes.size);
                size += cells[i].bytes.size;
            }
        }
        return (int64_t)XXH3_64bits(gathered, size);
    }
    XXH3_state_t state;
    XXH3_64bits_reset(&state);
    XXH3_64bits_update(&state, gathered, size);
    for (size_t i = 0; i < count; i++) {
        if (has_bytes(&cells[i])) {
            XXH3_64bits_update(&state, cells[i].bytes.data, cells[i].bytes.size);
        }
    }
    return (int64_t)XXH3_64bits_digest(&state);
}

// ---- rows ----

static int bind_cell(sqlite3_stmt *statement, int at, const struct weir_cell *cell) {
    switch (cell->kind) {
    case WEIR_CELL_INTEGER:
        return sqlite3_bind_int64(statement, at, cell->integer);
    case WEIR_CELL_TEXT:
        return sqlite3_bind_text64(statement, at, cell->bytes.data, cell->bytes.size, SQLITE_STATIC,
                                   SQLITE_UTF8);
    case WEIR_CELL_BLOB:
        return sqlite3_bind_blob64(statement, at, cell->bytes.data, cell->bytes.size,
                                   SQLITE_STATIC);
    default:
        return sqlite3_bind_null(statement, at);
    }
}

int weir_row_bind(sqlite3_stmt *statement, enum weir_table table, const struct weir_cell *cells) {
    size_t count = weir_tables[table].cell_count;
    for (size_t i = 0; i < count; i++) {
        int code = bind_cell(statement, (int)i + 1, &cells[i]);
        if (code != SQLITE_OK) {
            return code;
        }
    }
    return sqlite3_bind_int64(statement, (int)count + 1, weir_row_sum(table, cells));
}

static int read_cell(sqlite3_stmt *statement, int at, struct weir_cell *ret_cell) {
    int type = sqlite3_column_type(statement, at);
    switch (type) {
    case SQLITE_INTEGER:
        *ret_cell = weir_cell_integer(sqlite3_column_int64(statement, at));
        return SQLITE_OK;
    case SQLITE_NULL:
        *ret_cell = (struct weir_cell){.kind = WEIR_CELL_NULL};
        return SQLITE_OK;
    default: {
        // Of a number that is not whole, which weir never writes, these are its digits.
        const char *bytes = sqlite3_column_blob(statement, at);
        size_t size = (size_t)sqlite3_column_bytes(statement, at);
        *ret_cell = weir_cell_bytes(type == SQLITE_BLOB ? WEIR_CELL_BLOB : WEIR_CELL_TEXT,
                                    (struct weir_str){bytes, size});
        return !bytes && size > 0 ? SQLITE_NOMEM : SQLITE_OK;
    }
    }
}

int weir_row_read(sqlite3_stmt *statement, enum weir_table table, struct weir_cell *ret_cells,
                  bool *ret_is_right) {
    size_t count = weir_tables[table].cell_count;
    for (size_t i = 0; i < count; i++) {
        int code = read_cell(statement, (int)i, &ret_cells[i]);
        if (code != SQLITE_OK) {
            return code;
        }
    }
    *ret_is_right = sqlite3_column_int64(statement, (int)count) == weir_row_sum(table, ret_cells);
    return SQLITE_OK;
}

// ---- extensions ----

static bool needs_escape(unsigned char byte) {
    return byte < 0x20 || byte == '"' || byte == '\\';
}

enum { ESCAPE_BYTES = sizeof "\\u0000" - 1 };

// At most; with the quotes.
static size_t string_bytes(struct weir_str text) {
    size_t escaped = 0;
    for (size_t i = 0; i < text.size; i++) {
        escaped += needs_escape((unsigned char)text.data[i]);
    }
    return 2 + text.size + escaped * (ESCAPE_BYTES - 1);
}

static char *put_string(char *to, struct weir_str text) {
    static const char hex[] = "0123456789abcdef";
    *to++ = '"';
    for (size_t i = 0; i < text.size; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        if (!needs_escape(byte)) {
            *to++ = (char)byte;
        } else if (byte < 0x20) {
            memcpy(to, (char[]){'\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15]}, ESCAPE_BYTES);
            to += ESCAPE_BYTES;
        } else {
            *to++ = '\\';
            *to++ = (char)byte;
        }
    }
    *to++ = '"';
    return to;
}

static bool extensions_to_json(const struct weir_attributes *extensions,
                               struct weir_scratch *scratch, struct weir_str *ret_text) {
    size_t size = 2;
    for (size_t i = 0; i < extensions->count; i++) {
        size += string_bytes(extensions->items[i].name) + string_bytes(extensions->items[i].value) +
                2; // a colon and a comma
    }
    if (!scratch_reserve(scratch, size)) {
        return false;
    }
    char *to = scratch->bytes;
    *to++ = '{';
    for (size_t i = 0; i < extensions->count; i++) {
        if (i > 0) {
            *to++ = ',';
        }
        to = put_string(to, extensions->items[i].name);
        *to++ = ':';
        to = put_string(to, extensions->items[i].value);
    }
    *to++ = '}';
    *ret_text = (struct weir_str){scratch->bytes, (size_t)(to - scratch->bytes)};
    return true;
}

static int hex_value(char digit) {
    return digit >= '0' && digit <= '9'   ? digit - '0'
           : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
                                          : -1;
}

struct json_reader {
    const char *at, *end;
    char *free; // where unescaped texts go; there is room for all of the text
};

static bool take(struct json_reader *reader, char wanted) {
    if (reader->at == reader->end || *reader->at != wanted) {
        return false;
    }
    reader->at++;
    return true;
}

// Takes what follows a backslash; the byte that it stands for goes to *reader->free.
static bool take_escape(struct json_reader *reader) {
    if (take(reader, '"')) {
        *reader->free++ = '"';
        return true;
    }
    if (take(reader, '\\')) {
        *reader->free++ = '\\';
        return true;
    }
    enum { DIGITS = 4 };
    if (!take(reader, 'u') || reader->end - reader->at < DIGITS || reader->at[0] != '0' ||
        reader->at[1] != '0') {
        return false;
    }
    int high = hex_value(reader->at[2]), low = hex_value(reader->at[3]);
    if (high < 0 || low < 0) {
        return false;
    }
    reader->at += DIGITS;
    *reader->free++ = (char)(high << 4 | low);
    return true;
}

static bool take_string(struct json_reader *reader, struct weir_str *ret_text) {
    if (!take(reader, '"')) {
        return false;
    }
    const char *first = reader->at;
    while (reader->at < reader->end && *reader->at != '"' && *reader->at != '\\') {
        reader->at++;
    }
    if (take(reader, '"')) { // as nearly all are
        *ret_text = (struct weir_str){first, (size_t)(reader->at - 1 - first)};
        return true;
    }
    char *copy = reader->free;
    memcpy(copy, first, (size_t)(reader->at - first));
    reader->free += reader->at - first;
    while (reader->at < reader->end && *reader->at != '"') {
        char byte = *reader->at++;
        if (byte != '\\') {
            *reader->free++ = byte;
        } else if (!take_escape(reader)) {
            return false;
        }
    }
    *ret_text = (struct weir_str){copy, (size_t)(reader->free - copy)};
    return take(reader, '"');
}

// The items are the caller's array of WEIR_EXTENSIONS_MAX.
static bool json_to_extensions(struct json_reader *reader, struct weir_attribute *items,
                               size_t *ret_count) {
    size_t count = 0;
    bool is_well = take(reader, '{');
    while (is_well) {
        is_well = count < WEIR_EXTENSIONS_MAX && take_string(reader, &items[count].name) &&
                  take(reader, ':') && take_string(reader, &items[count].value);
        count++;
        if (!is_well || !take(reader, ',')) {
            break;
        }
    }
    *ret_count = count;
    return is_well && take(reader, '}') && reader->at == reader->end;
}

// ---- events ----

static struct weir_cell optional_text(const struct weir_optional_str *text) {
    return text->is_some ? weir_cell_text(text->value) : (struct weir_cell){0};
}

weir_status weir_row_of_event(const struct weir_event *event, struct weir_scratch *scratch,
                              struct weir_cell *ret_cells, struct weir_error *err) {
    const struct weir_event_fields *fields = &event->fields;
    const struct weir_payload *data = &fields->data.value;
    struct weir_str extensions = {0};
    if (fields->extensions.count > 0 &&
        !extensions_to_json(&fields->extensions, scratch, &extensions)) {
        return weir_fail_no_memory(err, "an event's extension attributes");
    }
    const struct weir_cell null = {0};
    ret_cells[WEIR_EVENT_KEY] = weir_cell_blob(event->key);
    ret_cells[WEIR_EVENT_TYPE] = weir_cell_text(fields->ty);
    ret_cells[WEIR_EVENT_SOURCE] = weir_cell_text(fields->source);
    ret_cells[WEIR_EVENT_ID] = weir_cell_text(fields->id);
    ret_cells[WEIR_EVENT_SUBJECT] = optional_text(&fields->subject);
    ret_cells[WEIR_EVENT_TIME] = optional_text(&fields->time);
    ret_cells[WEIR_EVENT_DATACONTENTTYPE] = optional_text(&fields->datacontenttype);
    ret_cells[WEIR_EVENT_DATASCHEMA] = optional_text(&fields->dataschema);
    ret_cells[WEIR_EVENT_DATA] =
        fields->data.is_some
            ? weir_cell_bytes(data->kind == WEIR_PAYLOAD_TEXT ? WEIR_CELL_TEXT : WEIR_CELL_BLOB,
                              data->bytes)
            : null;
    ret_cells[WEIR_EVENT_EXTENSIONS] =
        fields->extensions.count > 0 ? weir_cell_text(extensions) : null;
    ret_cells[WEIR_EVENT_POSITION] =
        event->position.size > 0 ? weir_cell_blob(event->position) : null;
    ret_cells[WEIR_EVENT_IS_GAP] = weir_cell_integer(event->is_gap);
    ret_cells[WEIR_EVENT_SPECVERSION] =
        weir_str_equal(fields->specversion, WEIR_STR(WEIR_CLOUDEVENTS_VERSION))
            ? null
            : weir_cell_text(fields->specversion);
    return WEIR_OK;
}

static struct weir_optional_str text_of(const struct weir_cell *cell) {
    return (struct weir_optional_str){.is_some = cell->kind != WEIR_CELL_NULL,
                                      .value = cell->bytes};
}

weir_status weir_row_to_event(const struct weir_cell *cells, struct weir_scratch *scratch,
                              struct weir_event **ret_event, struct weir_error *err) {
    struct weir_attribute items[WEIR_EXTENSIONS_MAX];
    size_t item_count = 0;
    const struct weir_cell *extensions = &cells[WEIR_EVENT_EXTENSIONS];
    *ret_event = NULL;
    if (extensions->kind != WEIR_CELL_NULL) {
        if (!scratch_reserve(scratch, extensions->bytes.size)) {
            return weir_fail_no_memory(err, "an event's extension attributes");
        }
        struct json_reader reader = {.at = extensions->bytes.data,
                                     .end = extensions->bytes.data + extensions->bytes.size,
                                     .free = scratch->bytes};
        if (extensions->kind != WEIR_CELL_TEXT ||
            !json_to_extensions(&reader, items, &item_count)) {
            return weir_fail(err, WEIR_OTHER, "its extensions are not a JSON object of texts");
        }
    }
    const struct weir_cell *data = &cells[WEIR_EVENT_DATA],
                           *version = &cells[WEIR_EVENT_SPECVERSION];
    const struct weir_event_fields fields = {
        .specversion =
            version->kind == WEIR_CELL_NULL ? WEIR_STR(WEIR_CLOUDEVENTS_VERSION) : version->bytes,
        .ty = cells[WEIR_EVENT_TYPE].bytes,
        .source = cells[WEIR_EVENT_SOURCE].bytes,
        .id = cells[WEIR_EVENT_ID].bytes,
        .data = {.is_some = data->kind != WEIR_CELL_NULL,
                 .value = {.kind = data->kind == WEIR_CELL_TEXT ? WEIR_PAYLOAD_TEXT
                                                                : WEIR_PAYLOAD_BINARY,
                           .bytes = data->bytes}},
        .datacontenttype = text_of(&cells[WEIR_EVENT_DATACONTENTTYPE]),
        .dataschema = text_of(&cells[WEIR_EVENT_DATASCHEMA]),
        .subject = text_of(&cells[WEIR_EVENT_SUBJECT]),
        .time = text_of(&cells[WEIR_EVENT_TIME]),
        .extensions = {.items = items, .count = item_count},
    };
    const struct weir_event_origin origin = {
        .key = cells[WEIR_EVENT_KEY].bytes,
        .position = cells[WEIR_EVENT_POSITION].bytes,
        .is_gap = cells[WEIR_EVENT_IS_GAP].integer != 0,
    };
    return weir_event_make(&fields, &origin, ret_event, err);
}

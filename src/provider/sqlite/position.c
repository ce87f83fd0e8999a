// SPDX-License-Identifier: Apache-2.0
//
// See position.h. The bytes: a version, the identity, the number and the mark, the kind of the
// rest; then, if there is one, its table and what it has come to, each behind its size in two
// bytes. Numbers are big-endian.
#include "provider/sqlite/position.h"

#include "base/big_endian.h"
#include "base/digits.h"

#include <assert.h>
#include <string.h>

enum { VERSION = 1, FIXED_BYTES = 1 + WEIR_SQLITE_IDENTITY_BYTES + 8 + 8 + 1 };
static_assert(FIXED_BYTES + 2 + WEIR_SQLITE_REST_TABLE_BYTES_MAX + 2 +
                      WEIR_SQLITE_REST_KEY_BYTES_MAX <=
                  WEIR_POSITION_BYTES_MAX,
              "a position holds its rest");

static char *put_number(char *at, uint64_t number, size_t bytes) {
    for (size_t i = bytes; i-- > 0;) {
        *at++ = (char)(number >> (8 * i));
    }
    return at;
}

static char *put_text(char *at, struct weir_str text) {
    at = put_number(at, text.size, 2);
    if (text.size > 0) {
        memcpy(at, text.data, text.size);
    }
    return at + text.size;
}

// The rest as it can be written.
static struct weir_sqlite_rest shorten(const struct weir_sqlite_rest *rest) {
    struct weir_sqlite_rest shortened = *rest;
    if (rest->key.size > WEIR_SQLITE_REST_KEY_BYTES_MAX) {
        shortened.kind = WEIR_SQLITE_REST_TABLE;
    }
    if (rest->table.size > WEIR_SQLITE_REST_TABLE_BYTES_MAX) {
        shortened = (struct weir_sqlite_rest){.kind = rest->kind == WEIR_SQLITE_REST_NONE
                                                          ? WEIR_SQLITE_REST_NONE
                                                          : WEIR_SQLITE_REST_TABLE};
    }
    return shortened;
}

size_t weir_sqlite_position_encode(const struct weir_sqlite_position *position,
                                   char buffer[static WEIR_POSITION_BYTES_MAX]) {
    struct weir_sqlite_rest rest = shorten(&position->rest);
    char *at = put_number(buffer, VERSION, 1);
    memcpy(at, position->identity, WEIR_SQLITE_IDENTITY_BYTES);
    at = put_number(at + WEIR_SQLITE_IDENTITY_BYTES, (uint64_t)position->place.seq, 8);
    at = put_number(at, position->place.mark, 8);
    at = put_number(at, rest.kind, 1);
    if (rest.kind != WEIR_SQLITE_REST_NONE) {
        at = put_text(at, rest.table);
    }
    if (rest.kind == WEIR_SQLITE_REST_ROW) {
        at = put_number(at, (uint64_t)rest.row, 8);
    }
    if (rest.kind == WEIR_SQLITE_REST_TEXT_KEY || rest.kind == WEIR_SQLITE_REST_BLOB_KEY) {
        at = put_text(at, rest.key);
    }
    return (size_t)(at - buffer);
}

// What is left of the bytes; `is_short` once there were too few.
struct reading {
    struct weir_str left;
    bool is_short;
};

static struct weir_str take(struct reading *reading, size_t bytes) {
    if (reading->is_short || reading->left.size < bytes) {
        reading->is_short = true;
        return (struct weir_str){0};
    }
    struct weir_str taken = {reading->left.data, bytes};
    reading->left.data += bytes;
    reading->left.size -= bytes;
    return taken;
}

static uint64_t take_number(struct reading *reading, size_t bytes) {
    struct weir_str taken = take(reading, bytes);
    return weir_take_big_endian(&taken.data, (int)taken.size);
}

static struct weir_str take_text(struct reading *reading) {
    return take(reading, take_number(reading, 2));
}

bool weir_sqlite_position_decode(struct weir_str bytes, struct weir_sqlite_position *ret_position) {
    struct reading reading = {.left = bytes};
    *ret_position = (struct weir_sqlite_position){0};
    bool is_known = take_number(&reading, 1) == VERSION;
    struct weir_str identity = take(&reading, WEIR_SQLITE_IDENTITY_BYTES);
    if (!is_known || reading.is_short) {
        return false;
    }
    memcpy(ret_position->identity, identity.data, identity.size);
    ret_position->place.seq = (int64_t)take_number(&reading, 8);
    ret_position->place.mark = take_number(&reading, 8);
    struct weir_sqlite_rest *rest = &ret_position->rest;
    uint64_t kind = take_number(&reading, 1);
    if (kind > WEIR_SQLITE_REST_BLOB_KEY || ret_position->place.seq < 0) {
        return false;
    }
    rest->kind = (enum weir_sqlite_rest_kind)kind;
    if (rest->kind != WEIR_SQLITE_REST_NONE) {
        rest->table = take_text(&reading);
    }
    if (rest->kind == WEIR_SQLITE_REST_ROW) {
        rest->row = (int64_t)take_number(&reading, 8);
    }
    if (rest->kind == WEIR_SQLITE_REST_TEXT_KEY || rest->kind == WEIR_SQLITE_REST_BLOB_KEY) {
        rest->key = take_text(&reading);
    }
    return !reading.is_short && reading.left.size == 0;
}

const char *weir_sqlite_place_text(const struct weir_sqlite_place *place,
                                   char buffer[static WEIR_SQLITE_REVISION_BYTES]) {
    static_assert(WEIR_DECIMAL_BYTES_MAX + 1 + WEIR_HEX_BYTES < WEIR_SQLITE_REVISION_BYTES,
                  "a place is the longest of revisions, or shorter");
    char *at = buffer + weir_decimal_signed(place->seq, buffer);
    *at++ = '-';
    weir_hex(place->mark, WEIR_HEX_LOWER, at);
    at[WEIR_HEX_BYTES] = '\0';
    return buffer;
}

// SPDX-License-Identifier: Apache-2.0
//
// See position.h. A position's bytes are of one size and big-endian, so that they ascend as the
// places do: version, commit, change, part, flags, system, timeline.
#include "provider/postgres/position.h"

#include "base/big_endian.h"
#include "base/digits.h"
#include "provider/postgres/value.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VERSION = 1, FLAG_SNAPSHOT = 1 };

void weir_pg_position_encode(const struct weir_pg_position *position,
                             char ret_bytes[static WEIR_PG_POSITION_BYTES]) {
    char *at = weir_put_big_endian(ret_bytes, VERSION, 1);
    at = weir_put_big_endian(at, position->commit_lsn, 8);
    at = weir_put_big_endian(at, position->change_lsn, 8);
    at = weir_put_big_endian(at, position->part, 4);
    at = weir_put_big_endian(at, position->is_snapshot ? FLAG_SNAPSHOT : 0, 1);
    at = weir_put_big_endian(at, position->system, 8);
    weir_put_big_endian(at, position->timeline, 4);
}

bool weir_pg_position_decode(struct weir_str bytes, struct weir_pg_position *ret_position) {
    const char *at = bytes.data;
    if (bytes.size != WEIR_PG_POSITION_BYTES || weir_take_big_endian(&at, 1) != VERSION) {
        return false;
    }
    ret_position->commit_lsn = weir_take_big_endian(&at, 8);
    ret_position->change_lsn = weir_take_big_endian(&at, 8);
    ret_position->part = (uint32_t)weir_take_big_endian(&at, 4);
    uint64_t flags = weir_take_big_endian(&at, 1);
    ret_position->is_snapshot = flags & FLAG_SNAPSHOT;
    ret_position->system = weir_take_big_endian(&at, 8);
    ret_position->timeline = (uint32_t)weir_take_big_endian(&at, 4);
    return flags <= FLAG_SNAPSHOT;
}

static int compare(uint64_t a, uint64_t b) {
    return a < b ? -1 : a > b;
}

int weir_pg_position_compare(const struct weir_pg_position *a, const struct weir_pg_position *b) {
    int order = compare(a->commit_lsn, b->commit_lsn);
    order = order ? order : compare(a->change_lsn, b->change_lsn);
    return order ? order : compare(a->part, b->part);
}

const char *weir_pg_position_revision(const struct weir_pg_position *position,
                                      char text[static WEIR_PG_REVISION_BYTES]) {
    char *rest = text + WEIR_HEX_BYTES;
    weir_hex(position->is_snapshot ? position->commit_lsn : position->change_lsn, WEIR_HEX_UPPER,
             text);
    if (position->is_snapshot) {
        snprintf(rest, WEIR_PG_REVISION_BYTES - WEIR_HEX_BYTES, "-snapshot");
    } else if (position->part > 0) {
        snprintf(rest, WEIR_PG_REVISION_BYTES - WEIR_HEX_BYTES, "-%" PRIu32, position->part);
    } else {
        *rest = '\0';
    }
    return text;
}

const char *weir_pg_lsn_format(uint64_t lsn, char text[static WEIR_PG_LSN_BYTES]) {
    snprintf(text, WEIR_PG_LSN_BYTES, "%" PRIX32 "/%" PRIX32, (uint32_t)(lsn >> 32), (uint32_t)lsn);
    return text;
}

// Reads up to 8 hex digits. Returns where they end; NULL: there are none, or more.
static const char *take_hex(const char *text, uint64_t *ret_number) {
    int digits = 0;
    *ret_number = 0;
    for (;; digits++, text++) {
        int digit = weir_pg_hex_digit(*text);
        if (digit < 0) {
            return digits > 0 ? text : NULL;
        }
        if (digits == 8) {
            return NULL;
        }
        *ret_number = *ret_number << 4 | (uint64_t)digit;
    }
}

bool weir_pg_lsn_parse(const char *text, uint64_t *ret_lsn) {
    uint64_t high, low;
    const char *at = take_hex(text, &high);
    if (!at || *at != '/') {
        return false;
    }
    at = take_hex(at + 1, &low);
    if (!at || *at != '\0') {
        return false;
    }
    *ret_lsn = high << 32 | low;
    return true;
}

// Reads a line of a history: a number, blanks, an LSN, and what nobody reads. False: it is another.
static bool read_line(const char *line, uint32_t *ret_timeline, uint64_t *ret_lsn) {
    char lsn[WEIR_PG_LSN_BYTES], *end;
    unsigned long timeline = strtoul(line, &end, 10);
    if (end == line || timeline > UINT32_MAX) {
        return false;
    }
    end += strspn(end, " \t");
    size_t size = strcspn(end, " \t\n");
    if (size >= sizeof lsn) {
        return false;
    }
    memcpy(lsn, end, size);
    lsn[size] = '\0';
    *ret_timeline = (uint32_t)timeline;
    return weir_pg_lsn_parse(lsn, ret_lsn);
}

bool weir_pg_history_has(const char *history, const struct weir_pg_position *place) {
    for (const char *line = history; line; line = strchr(line, '\n')) {
        uint32_t timeline;
        uint64_t lsn;
        line += *line == '\n';
        if (read_line(line, &timeline, &lsn) && timeline == place->timeline) {
            return place->commit_lsn < lsn;
        }
    }
    return false;
}

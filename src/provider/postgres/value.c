// SPDX-License-Identifier: Apache-2.0
//
// See value.h. The sessions that texts come from are told how to write (connect.c): bytes as hex,
// dates as ISO 8601 in UTC, floating-point numbers with all digits.
#include "provider/postgres/value.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_BYTES_MAX = 64 }; // of an integer or a double

int weir_pg_hex_digit(char letter) {
    return letter >= '0' && letter <= '9'   ? letter - '0'
           : letter >= 'a' && letter <= 'f' ? letter - 'a' + 10
           : letter >= 'A' && letter <= 'F' ? letter - 'A' + 10
                                            : -1;
}

size_t weir_pg_bytea_decode(struct weir_str text, char *to) {
    if (text.size < 2 || text.size % 2 != 0 || text.data[0] != '\\' || text.data[1] != 'x') {
        return SIZE_MAX;
    }
    for (size_t i = 2; i < text.size; i += 2) {
        int high = weir_pg_hex_digit(text.data[i]), low = weir_pg_hex_digit(text.data[i + 1]);
        if (high < 0 || low < 0) {
            return SIZE_MAX;
        }
        *to++ = (char)(high << 4 | low);
    }
    return (text.size - 2) / 2;
}

static struct weir_sql_value as_text(struct weir_str text) {
    return (struct weir_sql_value){.kind = WEIR_SQL_TEXT, .bytes = text};
}

// Both read a text with a NUL behind it. strtoll and strtod would also take blanks in front, and
// strtod numbers in hex, which PostgreSQL does not write.

static bool read_integer(const char *text, size_t size, int64_t *ret_number) {
    char *end;
    errno = 0;
    *ret_number = strtoll(text, &end, 10);
    return strspn(text, "-0123456789") == size && errno == 0 && *end == '\0';
}

static bool read_real(const char *text, size_t size, double *ret_number) {
    static const char *const words[] = {"NaN", "Infinity", "-Infinity"};
    bool is_number = strspn(text, "+-.0123456789e") == size;
    for (size_t i = 0; !is_number && i < sizeof words / sizeof words[0]; i++) {
        is_number = strlen(words[i]) == size && memcmp(text, words[i], size) == 0;
    }
    char *end;
    *ret_number = strtod(text, &end);
    return is_number && *end == '\0';
}

static struct weir_sql_value number_of(uint32_t type, struct weir_str text) {
    char terminated[NUMBER_BYTES_MAX];
    struct weir_sql_value value;
    if (text.size == 0 || text.size >= sizeof terminated) {
        return as_text(text);
    }
    memcpy(terminated, text.data, text.size);
    terminated[text.size] = '\0';
    if (type == WEIR_PG_FLOAT4 || type == WEIR_PG_FLOAT8) {
        value.kind = WEIR_SQL_REAL;
        return read_real(terminated, text.size, &value.real) ? value : as_text(text);
    }
    value.kind = WEIR_SQL_INTEGER;
    return read_integer(terminated, text.size, &value.integer) ? value : as_text(text);
}

static struct weir_sql_value bytes_of(struct weir_str text, struct weir_pg_scratch *scratch) {
    if ((size_t)(scratch->end - scratch->at) < text.size / 2) {
        return as_text(text);
    }
    size_t size = weir_pg_bytea_decode(text, scratch->at);
    if (size == SIZE_MAX) {
        return as_text(text);
    }
    struct weir_str bytes = {scratch->at, size};
    scratch->at += size;
    return (struct weir_sql_value){.kind = WEIR_SQL_BINARY, .bytes = bytes};
}

struct weir_sql_value weir_pg_value(uint32_t type, struct weir_str text,
                                    struct weir_pg_scratch *scratch) {
    switch (type) {
    case WEIR_PG_BOOL:
        return text.size == 1 && (text.data[0] == 't' || text.data[0] == 'f')
                   ? (struct weir_sql_value){.kind = WEIR_SQL_BOOLEAN,
                                             .boolean = text.data[0] == 't'}
                   : as_text(text);
    case WEIR_PG_INT2:
    case WEIR_PG_INT4:
    case WEIR_PG_INT8:
    case WEIR_PG_OID:
    case WEIR_PG_FLOAT4:
    case WEIR_PG_FLOAT8:
        return number_of(type, text);
    case WEIR_PG_NUMERIC:
        return (struct weir_sql_value){.kind = WEIR_SQL_DECIMAL, .bytes = text};
    case WEIR_PG_JSON:
    case WEIR_PG_JSONB:
        return (struct weir_sql_value){.kind = WEIR_SQL_JSON, .bytes = text};
    case WEIR_PG_BYTEA:
        return bytes_of(text, scratch);
    default:
        return as_text(text);
    }
}

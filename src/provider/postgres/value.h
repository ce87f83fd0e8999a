// SPDX-License-Identifier: Apache-2.0
//
// Values of PostgreSQL in their text form. Pure functions, any thread.
#ifndef WEIR_PROVIDER_POSTGRES_VALUE_H
#define WEIR_PROVIDER_POSTGRES_VALUE_H

#include "base/sql.h"

#include <stdint.h>

// The types that are more to weir than a text: their OIDs, which are the same everywhere.
enum {
    WEIR_PG_BOOL = 16,
    WEIR_PG_BYTEA = 17,
    WEIR_PG_INT8 = 20,
    WEIR_PG_INT2 = 21,
    WEIR_PG_INT4 = 23,
    WEIR_PG_TEXT = 25,
    WEIR_PG_OID = 26,
    WEIR_PG_JSON = 114,
    WEIR_PG_FLOAT4 = 700,
    WEIR_PG_FLOAT8 = 701,
    WEIR_PG_NUMERIC = 1700,
    WEIR_PG_JSONB = 3802,
};

// Where bytes are put that a value's text stands for: as many as the texts have are enough.
struct weir_pg_scratch {
    char *at, *end;
};

// The value of that type. A view of the text or of the scratch. What is not of its type's form is a
// text.
struct weir_sql_value weir_pg_value(uint32_t type, struct weir_str text,
                                    struct weir_pg_scratch *scratch);

// Decodes "\x6869" to `to`, which has room for half as many bytes. Returns how many; SIZE_MAX: it
// is not of that form.
size_t weir_pg_bytea_decode(struct weir_str text, char *to);

// The value of a hex digit, -1 for any other letter.
int weir_pg_hex_digit(char letter);

#endif

// SPDX-License-Identifier: Apache-2.0
//
// Names of tables: as people and keys write them, as the catalog has them, and as SQL quotes them.
// Pure functions, any thread.
//
// "orders" is the table of that name in the schema public, "shop.orders" one in another schema. A
// table whose name has a dot is written with its schema, "public.a.b"; a schema whose name has one
// cannot be written. Names are taken as they stand: PostgreSQL folds what is not quoted to lower
// case when it makes a table, so that is how they are written here.
#ifndef WEIR_PROVIDER_POSTGRES_TABLE_H
#define WEIR_PROVIDER_POSTGRES_TABLE_H

#include "base/error.h"
#include "base/str.h"
#include "provider/postgres/address.h"

enum {
    WEIR_PG_TABLE_BYTES = 2 * WEIR_PG_NAME_BYTES,       // as people write it
    WEIR_PG_QUOTED_BYTES = 2 * WEIR_PG_TABLE_BYTES + 8, // as SQL does
    WEIR_PG_COLUMN_BYTES = 2 * WEIR_PG_NAME_BYTES + 4,  // the same of a column
};

struct weir_pg_table_name {
    char schema[WEIR_PG_NAME_BYTES];
    char name[WEIR_PG_NAME_BYTES];
    char text[WEIR_PG_TABLE_BYTES];    // the shortest that means it
    char quoted[WEIR_PG_QUOTED_BYTES]; // with its schema
};

// WEIR_INVALID: it is none.
weir_status weir_pg_table_parse(struct weir_str text, struct weir_pg_table_name *ret_name,
                                struct weir_error *err);
// Of a table that the catalog names so. WEIR_INVALID: names that are none of PostgreSQL's.
weir_status weir_pg_table_of(struct weir_str schema, struct weir_str name,
                             struct weir_pg_table_name *ret_name, struct weir_error *err);

// Writes a name as SQL quotes it, "na""me", of at most WEIR_PG_NAME_BYTES - 1 bytes. Returns `to`.
const char *weir_pg_quote(const char *name, char *to, size_t room);

#endif

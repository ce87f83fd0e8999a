// SPDX-License-Identifier: Apache-2.0
//
// What the stream says of a table before its changes: its columns as they were then. Belongs to one
// thread.
#ifndef WEIR_PROVIDER_POSTGRES_RELATION_H
#define WEIR_PROVIDER_POSTGRES_RELATION_H

#include "base/error.h"
#include "base/sql.h"
#include "base/table.h"
#include "provider/postgres/pgoutput.h"
#include "provider/postgres/table.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WEIR_PG_KEY_COLUMNS_MAX = 32 }; // PostgreSQL's own bound of an index

struct weir_pg_relation {
    uint32_t id;
    struct weir_pg_table_name name;
    size_t count;
    struct weir_str *columns; // their names, owned
    uint32_t *types;
    bool *is_identity; // told of the old row, too
    size_t key_count;  // of the primary key, in its order
    size_t key[WEIR_PG_KEY_COLUMNS_MAX];
    int store_key, store_value; // the columns `key` and `value`; -1: there is none
    UT_hash_handle hh;
};

// Of a message. The primary key is not known by it, but where it is the identity and one column.
weir_status weir_pg_relation_create(const struct weir_pg_relation_message *message,
                                    struct weir_pg_relation **ret_relation, struct weir_error *err);
// Of the columns of a result of that table.
weir_status weir_pg_relation_of_result(const PGresult *result,
                                       const struct weir_pg_table_name *name,
                                       struct weir_pg_relation **ret_relation,
                                       struct weir_error *err);
// NULL is allowed.
void weir_pg_relation_destroy(struct weir_pg_relation *relation);

// Whether the message itself says what the primary key is.
bool weir_pg_relation_knows_key(const struct weir_pg_relation_message *message);
// The primary key's columns are named in the rows of the result. Names that are none of the
// relation's leave it without a key.
void weir_pg_relation_set_key(struct weir_pg_relation *relation, const PGresult *names);

#endif

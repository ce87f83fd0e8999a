// SPDX-License-Identifier: Apache-2.0
//
// What must be known of a table and the publication before the table can be watched. Pure
// functions, any thread.
#ifndef WEIR_PROVIDER_POSTGRES_PUBLICATION_H
#define WEIR_PROVIDER_POSTGRES_PUBLICATION_H

#include "provider/postgres/table.h"

#include <libpq-fe.h>
#include <stdbool.h>

// Says that a publication is weir's: it may alter and drop it.
#define WEIR_PG_PUBLICATION_COMMENT "made by weir for the resource"

struct weir_pg_table_facts {
    bool is_there;
    char kind;        // 'r' a table, 'p' a partitioned one; others cannot be published
    char persistence; // 'p'; 'u' is not logged
    char identity;    // 'd' the primary key, 'n' nothing, 'f' the whole row, 'i' an index
    bool has_key;
    bool has_publication, is_published, publishes_all, is_made_by_weir;
};

// Of $1, the table's schema, $2, its name, $3, the publication's.
#define WEIR_PG_TABLE_FACTS_SQL                                                                   \
    "SELECT c.relkind, c.relpersistence, c.relreplident, EXISTS (SELECT 1 FROM pg_index i WHERE " \
    "i.indrelid = c.oid AND i.indisprimary), p.oid IS NOT NULL, EXISTS (SELECT 1 FROM "           \
    "pg_publication_tables t WHERE t.pubname = $3 AND t.schemaname = $1 AND t.tablename = $2), "  \
    "coalesce(p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate, true), "             \
    "coalesce(obj_description(p.oid, 'pg_publication') LIKE '" WEIR_PG_PUBLICATION_COMMENT        \
    "%', false) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN "         \
    "pg_publication p ON p.pubname = $3 WHERE n.nspname = $1 AND c.relname = $2"

void weir_pg_table_facts_read(const PGresult *result, struct weir_pg_table_facts *ret_facts);

// Whether it can be watched. The error says what mends it.
weir_status weir_pg_table_facts_check(const struct weir_pg_table_facts *facts,
                                      const struct weir_pg_table_name *name,
                                      struct weir_error *err);

#endif

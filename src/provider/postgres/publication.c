// SPDX-License-Identifier: Apache-2.0
//
// See publication.h.
#include "provider/postgres/publication.h"

#include <string.h>

static bool is_true(const PGresult *result, int column) {
    return strcmp(PQgetvalue(result, 0, column), "t") == 0;
}

void weir_pg_table_facts_read(const PGresult *result, struct weir_pg_table_facts *ret_facts) {
    *ret_facts = (struct weir_pg_table_facts){.is_there = PQntuples(result) == 1};
    if (ret_facts->is_there) {
        ret_facts->kind = PQgetvalue(result, 0, 0)[0];
        ret_facts->persistence = PQgetvalue(result, 0, 1)[0];
        ret_facts->identity = PQgetvalue(result, 0, 2)[0];
        ret_facts->has_key = is_true(result, 3);
        ret_facts->has_publication = is_true(result, 4);
        ret_facts->is_published = is_true(result, 5);
        ret_facts->publishes_all = is_true(result, 6);
        ret_facts->is_made_by_weir = is_true(result, 7);
    }
}

weir_status weir_pg_table_facts_check(const struct weir_pg_table_facts *facts,
                                      const struct weir_pg_table_name *name,
                                      struct weir_error *err) {
    if (!facts->is_there) {
        return weir_fail(err, WEIR_NOT_FOUND,
                         "there is no table %s in this database; the watched key begins with the "
                         "table's name, as PostgreSQL has it (what was not quoted is lower case)",
                         name->text);
    }
    if (facts->kind != 'r' && facts->kind != 'p') {
        return weir_fail(err, WEIR_UNSUPPORTED,
                         "%s is no table (a view, a sequence, a foreign table): PostgreSQL tells "
                         "changes of tables alone",
                         name->text);
    }
    if (facts->persistence != 'p') {
        return weir_fail(err, WEIR_UNSUPPORTED,
                         "the table %s is not logged, so its changes are not told; its owner mends "
                         "it: ALTER TABLE %s SET LOGGED",
                         name->text, name->quoted);
    }
    if (facts->identity == 'n' || (facts->identity == 'd' && !facts->has_key)) {
        return weir_fail(err, WEIR_UNSUPPORTED,
                         "the table %s has no replica identity: to publish it would make UPDATE "
                         "and DELETE fail; its owner mends it with a primary key, or: ALTER TABLE "
                         "%s REPLICA IDENTITY FULL",
                         name->text, name->quoted);
    }
    return WEIR_OK;
}

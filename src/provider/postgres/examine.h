// SPDX-License-Identifier: Apache-2.0
//
// What examinations share: what is asked of the server, and told of it. Any thread.
#ifndef WEIR_PROVIDER_POSTGRES_EXAMINE_H
#define WEIR_PROVIDER_POSTGRES_EXAMINE_H

#include "provider/postgres/resource.h"

// An examination under way.
struct weir_pg_examination {
    const struct weir_pg_resource *resource;
    PGconn *connection;
    struct weir_waiter waiter;
    const struct weir_findings *findings;
    bool is_watched;    // not only read and written
    weir_status status; // of the first question that could not be asked
    struct weir_error *err;
};

void weir_pg_examine_tell(const struct weir_pg_examination *look, bool is_mistake,
                          const char *remedy, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
// NULL: it could not be asked, or something before it; look->status says so.
PGresult *weir_pg_examine_ask(struct weir_pg_examination *look, const char *text,
                              const char *const *values, int count);
// Of the first row.
bool weir_pg_examine_is_true(const PGresult *result, int column);
// Whether the table's schema may be used; else that is told.
bool weir_pg_examine_may_enter(struct weir_pg_examination *look,
                               const struct weir_pg_table_name *name);

// ---- examine_outbox.c ----

void weir_pg_examine_outbox(struct weir_pg_examination *look);

#endif

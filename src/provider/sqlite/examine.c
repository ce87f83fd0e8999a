// SPDX-License-Identifier: Apache-2.0
//
// What watching, reading and writing want of a database, and what is missing; and taking away what
// weir put there. On the caller's thread, with a connection of its own.
#include "provider/sqlite/resource.h"

#include "base/clock.h"
#include "base/show.h"
#include "provider/sqlite/install.h"
#include "provider/sqlite/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_BYTES = 1400 };

struct examining {
    const struct weir_sqlite_resource *resource;
    struct weir_sqlite_db *db;
    const struct weir_pattern *patterns;
    size_t count;
    const struct weir_findings *findings;
};

static void tell(const struct examining *examining, bool is_mistake, const char *what,
                 const char *remedy) {
    const struct weir_finding finding = {.is_mistake = is_mistake, .what = what, .remedy = remedy};
    examining->findings->tell(examining->findings->context, &finding);
}

static weir_status open_for_reading(const struct weir_sqlite_resource *resource,
                                    enum weir_sqlite_mode mode, struct weir_sqlite_db **ret_db,
                                    struct weir_error *err) {
    const struct weir_sqlite_db_args args = {.path = resource->options.path,
                                             .mode = mode,
                                             .until_ns = weir_sqlite_until(resource, INT64_MAX)};
    return weir_sqlite_db_open(&args, ret_db, err);
}

static bool concerns(void *context, struct weir_str table) {
    const struct examining *examining = context;
    for (size_t i = 0; i < examining->count; i++) {
        if (weir_sqlite_pattern_concerns(&examining->patterns[i], table)) {
            return true;
        }
    }
    return false;
}

// A unique index that triggers cannot follow.
static weir_status look_at_table(void *context, struct weir_str name, struct weir_error *err) {
    const struct examining *examining = context;
    struct weir_sqlite_table *table;
    char what[TEXT_BYTES], shown[2][WEIR_SHOW_BYTES];
    if (!examining->resource->options.kv && !concerns(context, name)) {
        return WEIR_OK;
    }
    weir_status status = weir_sqlite_table_read(examining->db, name, &table, err);
    if (status != WEIR_OK) {
        tell(examining, true, err->message, NULL);
        return status == WEIR_NO_MEMORY ? status : WEIR_OK;
    }
    if (table->unseen) {
        snprintf(
            what, sizeof what,
            "the unique index \"%s\" of the table \"%s\" is of expressions, or of some rows: a "
            "row that REPLACE removes because of it is not told as deleted",
            weir_show(weir_str_of(table->unseen), shown[0], sizeof shown[0]),
            weir_show(name, shown[1], sizeof shown[1]));
        tell(examining, false, what, "let writers delete such a row, or set recursive_triggers");
    }
    weir_sqlite_table_free(table);
    return WEIR_OK;
}

static weir_status look_at_kv(const struct examining *examining, struct weir_error *err) {
    const struct weir_sqlite_options *options = &examining->resource->options;
    struct weir_sqlite_table *table;
    struct weir_sqlite_kv_columns columns;
    weir_status status =
        weir_sqlite_table_read(examining->db, weir_str_of(options->kv), &table, err);
    if (status == WEIR_NOT_FOUND && options->create) {
        tell(examining, false, "the key-value table is not there yet: it is made when it is needed",
             NULL);
        return WEIR_OK;
    }
    status = status == WEIR_OK ? weir_sqlite_table_kv(examining->db, table, &columns, err) : status;
    if (status != WEIR_OK) {
        tell(examining, true, err->message, "name a table that is one, or set `create: true`");
    }
    weir_sqlite_table_free(table);
    return status == WEIR_NO_MEMORY ? status : WEIR_OK;
}

static bool has_wal(const struct weir_sqlite_db *db) {
    WEIR_SQLITE_AUTO_FINALIZE sqlite3_stmt *statement = NULL;
    return sqlite3_prepare_v2(db->handle, "PRAGMA journal_mode", -1, &statement, NULL) ==
               SQLITE_OK &&
           sqlite3_step(statement) == SQLITE_ROW &&
           weir_str_equal(weir_sqlite_bytes(statement, 0), WEIR_STR("wal"));
}

static void look_at_file(const struct examining *examining) {
    bool is_written = examining->resource->options.install || examining->resource->options.kv;
    if (is_written && weir_sqlite_db_is_readonly(examining->db)) {
        tell(examining, true, "the file cannot be written by weir's user",
             "let weir's user write the file and its directory");
    }
    if (!has_wal(examining->db)) {
        tell(
            examining, false,
            "the database has no write-ahead log: while somebody writes, weir cannot read, and the "
            "other way round",
            "sqlite3 FILE 'PRAGMA journal_mode = WAL'");
    }
}

// Whether what is watched is followed, or will be.
static weir_status look_at_triggers(struct examining *examining, struct weir_error *err) {
    const struct weir_sqlite_options *options = &examining->resource->options;
    bool wrote;
    if (options->install || examining->count == 0) {
        return WEIR_OK;
    }
    const struct weir_sqlite_wanted wanted = {
        .kv = options->kv,
        .concerns = concerns,
        .context = examining,
        .tables_max = options->tables_max,
    };
    weir_status status = weir_sqlite_install(examining->db, &wanted, &wrote, err);
    if (status != WEIR_OK) {
        tell(examining, true, err->message, status == WEIR_UNSUPPORTED ? "install: true" : NULL);
    }
    return status == WEIR_NO_MEMORY ? status : WEIR_OK;
}

weir_status weir_sqlite_examine(struct weir_resource *base, const struct weir_pattern *patterns,
                                size_t count, const struct weir_findings *findings,
                                struct weir_error *err) {
    struct weir_sqlite_resource *resource = weir_sqlite_resource_of(base);
    struct weir_error own;
    err = err ? err : &own;
    struct examining examining = {
        .resource = resource, .patterns = patterns, .count = count, .findings = findings};
    weir_status status = open_for_reading(resource, WEIR_SQLITE_WRITE, &examining.db, err);
    if (status == WEIR_NOT_FOUND && weir_sqlite_mode_of(resource) == WEIR_SQLITE_CREATE) {
        tell(&examining, false, "the file is not there yet: it is made when it is needed", NULL);
        return WEIR_OK;
    }
    if (status != WEIR_OK) {
        return status;
    }
    look_at_file(&examining);
    if (resource->options.kv) {
        status = look_at_kv(&examining, err);
        if (status == WEIR_OK && count > 0) {
            status = look_at_triggers(&examining, err);
        }
    } else {
        status = weir_sqlite_tables(examining.db, look_at_table, &examining, err);
        status = status == WEIR_OK ? look_at_triggers(&examining, err) : status;
    }
    weir_sqlite_db_close(examining.db);
    return status;
}

weir_status weir_sqlite_withdraw(struct weir_resource *base, const struct weir_findings *findings,
                                 struct weir_error *err) {
    struct weir_sqlite_resource *resource = weir_sqlite_resource_of(base);
    struct weir_sqlite_db *db;
    weir_status status = open_for_reading(resource, WEIR_SQLITE_WRITE, &db, err);
    if (status != WEIR_OK) {
        return status;
    }
    status = weir_sqlite_uninstall(db, findings, err);
    weir_sqlite_db_close(db);
    return status;
}

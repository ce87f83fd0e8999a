// SPDX-License-Identifier: Apache-2.0
//
// What an outbox's table lacks. Any thread; see examine.c.
#include "provider/postgres/examine.h"

#include <stdio.h>
#include <string.h>

enum { TEXT_BYTES = 2048 };

static const struct weir_pg_outbox_table *table_of(const struct weir_pg_examination *look) {
    return &look->resource->outbox_table;
}

static void tell_missing(const struct weir_pg_examination *look) {
    const struct weir_pg_outbox_table *table = table_of(look);
    char remedy[TEXT_BYTES];
    snprintf(remedy, sizeof remedy,
             "CREATE TABLE %s (%s bigint GENERATED ALWAYS AS IDENTITY, %s xid8 NOT NULL DEFAULT "
             "pg_current_xact_id(), %s%s%s%s%s%sPRIMARY KEY (%s, %s))",
             table->name.quoted, table->id, table->xid, table->key,
             table->key[0] ? " text NOT NULL, " : "", table->payload,
             table->payload[0] ? " jsonb, " : "", table->attributes,
             table->attributes[0] ? " jsonb, " : "", table->xid, table->id);
    weir_pg_examine_tell(look, true, remedy, "there is no table %s in this database",
                         table->name.text);
}

// Whether it is there, and a table.
static bool look_at_table(struct weir_pg_examination *look) {
    const struct weir_pg_table_name *name = &table_of(look)->name;
    const char *values[] = {name->schema, name->name};
    PGresult *result = weir_pg_examine_ask(look,
                                           "SELECT c.relkind IN ('r', 'p'), c.relpersistence = 'p' "
                                           "FROM pg_class c JOIN pg_namespace n ON n.oid = "
                                           "c.relnamespace WHERE n.nspname = $1 AND c.relname = $2",
                                           values, 2);
    bool is_there = result && PQntuples(result) == 1;
    bool is_table = result && weir_pg_examine_is_true(result, 0);
    if (result && !is_there) {
        tell_missing(look);
    } else if (result && !is_table) {
        weir_pg_examine_tell(look, true, NULL, "%s is no table", name->text);
    } else if (result && !weir_pg_examine_is_true(result, 1)) {
        char remedy[TEXT_BYTES];
        snprintf(remedy, sizeof remedy, "ALTER TABLE %s SET LOGGED", name->quoted);
        weir_pg_examine_tell(look, true, remedy,
                             "the table %s is not logged: its rows are gone when the server dies, "
                             "and nobody can tell",
                             name->text);
    }
    PQclear(result);
    return is_table;
}

static void look_at_rights(struct weir_pg_examination *look) {
    const struct weir_pg_table_name *name = &table_of(look)->name;
    const char *values[] = {name->quoted};
    char remedy[TEXT_BYTES], user[WEIR_PG_COLUMN_BYTES];
    PGresult *result = weir_pg_examine_ask(
        look,
        "SELECT has_table_privilege($1, 'SELECT'), has_function_privilege('pg_control_system()', "
        "'EXECUTE'), current_user, pg_is_in_recovery()",
        values, 1);
    if (!result) {
        return;
    }
    weir_pg_quote(PQgetvalue(result, 0, 2), user, sizeof user);
    if (!weir_pg_examine_is_true(result, 0)) {
        snprintf(remedy, sizeof remedy, "GRANT SELECT ON %s TO %s", name->quoted, user);
        weir_pg_examine_tell(look, true, remedy, "the table %s may not be read", name->text);
    }
    if (!weir_pg_examine_is_true(result, 1)) {
        snprintf(remedy, sizeof remedy, "GRANT EXECUTE ON FUNCTION pg_control_system() TO %s",
                 user);
        weir_pg_examine_tell(look, true, remedy,
                             "the cluster's identifier may not be asked for, by which another "
                             "cluster is told from this one");
    }
    if (weir_pg_examine_is_true(result, 3)) {
        weir_pg_examine_tell(look, true, "connect to the primary server",
                             "the server is a standby");
    }
    PQclear(result);
}

// A column, and what it must be.
struct column {
    const char *name;     // as SQL quotes it; "": there is none
    const char *type;     // NULL: any
    const char *advised;  // the type of one that is to be added
    const char *default_; // what it is by default; NULL: anything
    bool is_needed;       // in each row
};

// Whether it is there.
static bool look_at_column(struct weir_pg_examination *look, const struct column *column) {
    const struct weir_pg_table_name *table = &table_of(look)->name;
    const char *values[] = {table->quoted, column->name};
    char remedy[TEXT_BYTES];
    if (!column->name[0]) {
        return true;
    }
    PGresult *result = weir_pg_examine_ask(
        look,
        "SELECT format_type(a.atttypid, a.atttypmod), coalesce(pg_get_expr(d.adbin, d.adrelid), "
        "''), a.attnotnull FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid "
        "AND d.adnum = a.attnum WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT "
        "a.attisdropped AND '\"' || replace(a.attname, '\"', '\"\"') || '\"' = $2",
        values, 2);
    if (!result) {
        return false;
    }
    bool is_there = PQntuples(result) > 0;
    if (!is_there) {
        snprintf(remedy, sizeof remedy, "ALTER TABLE %s ADD COLUMN %s %s%s%s", table->quoted,
                 column->name, column->advised, column->default_ ? " NOT NULL DEFAULT " : "",
                 column->default_ ? column->default_ : "");
        weir_pg_examine_tell(look, true, remedy, "the table %s has no column %s", table->text,
                             column->name);
    } else if (column->type && strcmp(PQgetvalue(result, 0, 0), column->type) != 0) {
        weir_pg_examine_tell(look, true, NULL, "the column %s of the table %s is %s, and not %s",
                             column->name, table->text, PQgetvalue(result, 0, 0), column->type);
    } else if (column->default_ && strcmp(PQgetvalue(result, 0, 1), column->default_) != 0) {
        snprintf(remedy, sizeof remedy, "ALTER TABLE %s ALTER COLUMN %s SET DEFAULT %s",
                 table->quoted, column->name, column->default_);
        weir_pg_examine_tell(look, true, remedy,
                             "the column %s of the table %s is not filled in by default: rows with "
                             "another transaction's number are missed",
                             column->name, table->text);
    } else if (column->is_needed && !weir_pg_examine_is_true(result, 2)) {
        snprintf(remedy, sizeof remedy, "ALTER TABLE %s ALTER COLUMN %s SET NOT NULL",
                 table->quoted, column->name);
        weir_pg_examine_tell(look, true, remedy,
                             "the column %s of the table %s may be NULL: such rows are missed",
                             column->name, table->text);
    }
    PQclear(result);
    return is_there;
}

// Whether all are there.
static bool look_at_columns(struct weir_pg_examination *look) {
    const struct weir_pg_outbox_table *table = table_of(look);
    const struct column columns[] = {
        {.name = table->id, .advised = "bigint GENERATED ALWAYS AS IDENTITY", .is_needed = true},
        {.name = table->xid,
         .type = "xid8",
         .advised = "xid8",
         .default_ = "pg_current_xact_id()",
         .is_needed = true},
        {.name = table->key, .advised = "text"},
        {.name = table->payload, .advised = "jsonb"},
        {.name = table->attributes, .advised = "jsonb"},
    };
    bool are_there = true;
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
        are_there = look_at_column(look, &columns[i]) && are_there;
    }
    return are_there;
}

static void look_at_index(struct weir_pg_examination *look) {
    const struct weir_pg_outbox_table *table = table_of(look);
    const char *values[] = {table->name.quoted, table->xid, table->id};
    char remedy[TEXT_BYTES];
    PGresult *result = weir_pg_examine_ask(
        look,
        "SELECT EXISTS (SELECT 1 FROM pg_index i JOIN pg_attribute x ON x.attrelid = i.indrelid "
        "AND x.attnum = i.indkey[0] JOIN pg_attribute n ON n.attrelid = i.indrelid AND n.attnum = "
        "i.indkey[1] WHERE i.indrelid = $1::regclass AND i.indisvalid AND i.indpred IS NULL AND "
        "'\"' || replace(x.attname, '\"', '\"\"') || '\"' = $2 AND '\"' || replace(n.attname, "
        "'\"', '\"\"') || '\"' = $3)",
        values, 3);
    if (result && !weir_pg_examine_is_true(result, 0)) {
        snprintf(remedy, sizeof remedy, "CREATE INDEX ON %s (%s, %s)", table->name.quoted,
                 table->xid, table->id);
        weir_pg_examine_tell(look, true, remedy,
                             "the table %s has no index of (%s, %s): each look would read all of "
                             "it",
                             table->name.text, table->xid, table->id);
    }
    PQclear(result);
}

static void look_at_trigger(struct weir_pg_examination *look) {
    const struct weir_pg_outbox_table *table = table_of(look);
    const char *values[] = {table->name.quoted};
    char remedy[TEXT_BYTES];
    PGresult *result = weir_pg_examine_ask(
        look,
        "SELECT EXISTS (SELECT 1 FROM pg_trigger t WHERE t.tgrelid = $1::regclass AND NOT "
        "t.tgisinternal AND (t.tgtype & 4) <> 0)",
        values, 1);
    if (result && !weir_pg_examine_is_true(result, 0)) {
        snprintf(remedy, sizeof remedy,
                 "CREATE FUNCTION outbox_wake() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                 "PERFORM pg_notify('%s', ''); RETURN NULL; END $$; CREATE TRIGGER wake AFTER "
                 "INSERT ON %s FOR EACH STATEMENT EXECUTE FUNCTION outbox_wake()",
                 table->wake, table->name.quoted);
        weir_pg_examine_tell(look, false, remedy,
                             "no trigger of the table %s notifies the channel \"%s\": new rows are "
                             "told at the next poll",
                             table->name.text, table->wake);
    }
    PQclear(result);
}

void weir_pg_examine_outbox(struct weir_pg_examination *look) {
    if (!look_at_table(look) || !weir_pg_examine_may_enter(look, &table_of(look)->name)) {
        return;
    }
    look_at_rights(look);
    if (look_at_columns(look)) {
        look_at_index(look);
    }
    look_at_trigger(look);
}

// SPDX-License-Identifier: Apache-2.0
//
// What a person is told of a server: what it lacks for what the configuration wants of it, with the
// command that mends it; and taking away what weir made there. Examining changes nothing.
//
// Any thread; not while the resource is watched.
#include "provider/postgres/examine.h"

#include "base/clock.h"
#include "provider/postgres/pattern.h"
#include "provider/postgres/publication.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_BYTES = 1024 };

void weir_pg_examine_tell(const struct weir_pg_examination *look, bool is_mistake,
                          const char *remedy, const char *format, ...) {
    char what[TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    const struct weir_finding finding = {.is_mistake = is_mistake, .what = what, .remedy = remedy};
    look->findings->tell(look->findings->context, &finding);
}

PGresult *weir_pg_examine_ask(struct weir_pg_examination *look, const char *text,
                              const char *const *values, int count) {
    struct weir_pg_answer answer = {.result = NULL};
    if (look->status == WEIR_OK) {
        look->waiter.until_ns = weir_clock_monotonic_ns() + look->resource->target.timeout_ns;
        const struct weir_pg_statement statement = {.text = text, .count = count, .values = values};
        look->status = weir_pg_run(look->connection, &look->waiter, &statement, &answer, look->err);
    }
    return answer.result;
}

bool weir_pg_examine_is_true(const PGresult *result, int column) {
    return PQntuples(result) > 0 && strcmp(PQgetvalue(result, 0, column), "t") == 0;
}

// ---- the server's settings ----

static void look_at_version(const struct weir_pg_examination *look) {
    int version = PQserverVersion(look->connection);
    if (version < 130000) {
        weir_pg_examine_tell(look, true, "use PostgreSQL 13 or later",
                             "the server is PostgreSQL %d.%d", version / 10000, version % 10000);
    } else if (version < 140000 && look->resource->mode == WEIR_PG_KV) {
        weir_pg_examine_tell(
            look, false, NULL,
            "the server is PostgreSQL 13: chains of published events are not kept (14 and later "
            "keep them)");
    } else {
        weir_pg_examine_tell(look, false, NULL, "the server is PostgreSQL %d.%d", version / 10000,
                             version % 10000);
    }
}

static void look_at_settings(struct weir_pg_examination *look) {
    PGresult *result = weir_pg_examine_ask(
        look,
        "SELECT current_setting('wal_level'), current_setting('max_replication_slots')::int - "
        "(SELECT count(*) FROM pg_replication_slots), current_setting('max_wal_senders')::int - "
        "(SELECT count(*) FROM pg_stat_replication), current_setting('max_slot_wal_keep_size'), "
        "pg_is_in_recovery()",
        NULL, 0);
    if (!result) {
        return;
    }
    if (strcmp(PQgetvalue(result, 0, 0), "logical") != 0) {
        weir_pg_examine_tell(
            look, true, "ALTER SYSTEM SET wal_level = logical; and restart the server",
            "wal_level is %s: changes cannot be watched", PQgetvalue(result, 0, 0));
    }
    if (strtol(PQgetvalue(result, 0, 1), NULL, 10) < 2) {
        weir_pg_examine_tell(
            look, true, "ALTER SYSTEM SET max_replication_slots = 20; and restart the server",
            "%s replication slots are free; a resource uses up to two, and one for a moment",
            PQgetvalue(result, 0, 1));
    }
    if (strtol(PQgetvalue(result, 0, 2), NULL, 10) < 2) {
        weir_pg_examine_tell(
            look, true, "ALTER SYSTEM SET max_wal_senders = 20; and restart the server",
            "%s WAL senders are free; a resource uses up to two, and one for a moment",
            PQgetvalue(result, 0, 2));
    }
    if (strcmp(PQgetvalue(result, 0, 3), "-1") == 0) {
        weir_pg_examine_tell(
            look, false,
            "ALTER SYSTEM SET max_slot_wal_keep_size = '20GB'; SELECT "
            "pg_reload_conf()",
            "max_slot_wal_keep_size is unlimited: while weir is away the slot keeps all of the "
            "log, until the disk is full");
    }
    if (weir_pg_examine_is_true(result, 4)) {
        weir_pg_examine_tell(look, true, "connect to the primary server",
                             "the server is a standby");
    }
    PQclear(result);
}

// ---- the user's rights ----

static void look_at_rights(struct weir_pg_examination *look) {
    char remedy[TEXT_BYTES], user[2 * WEIR_PG_NAME_BYTES + 4], database[sizeof user];
    PGresult *result = weir_pg_examine_ask(
        look,
        "SELECT rolname, rolreplication OR rolsuper, has_database_privilege(current_database(), "
        "'CREATE'), current_database() FROM pg_roles WHERE rolname = current_user",
        NULL, 0);
    if (!result || PQntuples(result) != 1) {
        PQclear(result);
        return;
    }
    weir_pg_quote(PQgetvalue(result, 0, 0), user, sizeof user);
    weir_pg_quote(PQgetvalue(result, 0, 3), database, sizeof database);
    if (!weir_pg_examine_is_true(result, 1)) {
        snprintf(remedy, sizeof remedy, "ALTER ROLE %s REPLICATION", user);
        weir_pg_examine_tell(look, true, remedy,
                             "the user %s may not replicate: changes cannot be watched", user);
    }
    PGresult *publication =
        weir_pg_examine_ask(look, "SELECT 1 FROM pg_publication WHERE pubname = $1",
                            (const char *const[]){look->resource->publication}, 1);
    if (publication && PQntuples(publication) == 0 && !weir_pg_examine_is_true(result, 2)) {
        snprintf(remedy, sizeof remedy,
                 "GRANT CREATE ON DATABASE %s TO %s; or, as the tables' owner: CREATE PUBLICATION "
                 "\"%s\" FOR TABLE ... WITH (publish_via_partition_root = true)",
                 database, user, look->resource->publication);
        weir_pg_examine_tell(look, true, remedy,
                             "there is no publication \"%s\", and the user %s may not make one",
                             look->resource->publication, user);
    }
    PQclear(publication);
    PQclear(result);
}

// ---- tables ----

static void look_at_publication(struct weir_pg_examination *look,
                                const struct weir_pg_table_name *name,
                                const struct weir_pg_table_facts *facts) {
    char remedy[TEXT_BYTES];
    const char *values[] = {name->quoted};
    if (facts->is_published) {
        return;
    }
    PGresult *result =
        weir_pg_examine_ask(look,
                            "SELECT pg_has_role(c.relowner, 'USAGE') FROM pg_class c WHERE c.oid = "
                            "$1::regclass",
                            values, 1);
    bool can_alter = !facts->has_publication || facts->is_made_by_weir;
    if (result && (!can_alter || !weir_pg_examine_is_true(result, 0))) {
        snprintf(remedy, sizeof remedy, "as its owner: %s PUBLICATION \"%s\" %s TABLE %s",
                 facts->has_publication ? "ALTER" : "CREATE", look->resource->publication,
                 facts->has_publication ? "ADD" : "FOR", name->quoted);
        weir_pg_examine_tell(look, true, remedy,
                             "the table %s is not published, and weir may not publish it",
                             name->text);
    }
    PQclear(result);
}

static void look_at_reading(struct weir_pg_examination *look,
                            const struct weir_pg_table_name *name) {
    char remedy[TEXT_BYTES];
    bool is_store = look->resource->mode == WEIR_PG_KV;
    const char *values[] = {name->quoted, is_store ? "SELECT, INSERT, UPDATE, DELETE" : "SELECT"};
    PGresult *result =
        weir_pg_examine_ask(look,
                            "SELECT bool_and(has_table_privilege($1, btrim(p))), current_user FROM "
                            "unnest(string_to_array($2, ',')) p",
                            values, 2);
    if (result && !weir_pg_examine_is_true(result, 0) &&
        (is_store || look->resource->snapshot != WEIR_PG_SNAPSHOT_NEVER)) {
        snprintf(remedy, sizeof remedy, "GRANT %s ON %s TO \"%s\"", values[1], name->quoted,
                 PQgetvalue(result, 0, 1));
        weir_pg_examine_tell(look, true, remedy, "the table %s may not be %s", name->text,
                             is_store ? "read and written" : "read, as it is after a gap");
    }
    PQclear(result);
}

static void look_at_columns(struct weir_pg_examination *look) {
    const char *values[] = {look->resource->kv.quoted};
    PGresult *result = weir_pg_examine_ask(
        look,
        "SELECT count(*) = 2 FROM pg_attribute a WHERE a.attrelid = $1::regclass AND NOT "
        "a.attisdropped AND a.attname IN ('key', 'value') AND a.atttypid IN (17, 25, 1043) AND "
        "(a.attname <> 'key' OR EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = a.attrelid AND "
        "i.indisunique AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum))",
        values, 1);
    if (result && !weir_pg_examine_is_true(result, 0)) {
        weir_pg_examine_tell(
            look, true, "CREATE TABLE ... (key bytea PRIMARY KEY, value bytea NOT NULL), or text",
            "the table %s is no store: it wants the columns key (unique) and value, bytea or text",
            look->resource->kv.text);
    }
    PQclear(result);
}

// Without the right to look into a schema nothing in it can be asked for.
bool weir_pg_examine_may_enter(struct weir_pg_examination *look,
                               const struct weir_pg_table_name *name) {
    char remedy[TEXT_BYTES];
    const char *values[] = {name->schema};
    PGresult *result = weir_pg_examine_ask(
        look, "SELECT has_schema_privilege($1, 'USAGE'), current_user", values, 1);
    bool may = result && weir_pg_examine_is_true(result, 0);
    if (result && !may) {
        snprintf(remedy, sizeof remedy, "GRANT USAGE ON SCHEMA \"%s\" TO \"%s\"", name->schema,
                 PQgetvalue(result, 0, 1));
        weir_pg_examine_tell(look, true, remedy, "the schema %s of the table %s may not be used",
                             name->schema, name->text);
    }
    PQclear(result);
    return may;
}

static void look_at_table(struct weir_pg_examination *look, const struct weir_pg_table_name *name) {
    const char *values[] = {name->schema, name->name, look->resource->publication};
    struct weir_pg_table_facts facts;
    struct weir_error err;
    PGresult *result = weir_pg_examine_ask(look, WEIR_PG_TABLE_FACTS_SQL, values, 3);
    if (!result) {
        return;
    }
    weir_pg_table_facts_read(result, &facts);
    PQclear(result);
    if (!facts.is_there && look->resource->mode == WEIR_PG_KV && look->resource->creates) {
        weir_pg_examine_tell(look, false, NULL, "the table %s is made when it is first used",
                             name->text);
        return;
    }
    if (weir_pg_table_facts_check(&facts, name, &err) != WEIR_OK) {
        weir_pg_examine_tell(look, true, NULL, "%s", err.message);
        return;
    }
    if (!weir_pg_examine_may_enter(look, name)) {
        return;
    }
    if (look->is_watched) {
        look_at_publication(look, name, &facts);
    }
    look_at_reading(look, name);
    if (look->resource->mode == WEIR_PG_KV) {
        look_at_columns(look);
    }
}

static void look_at_pattern(struct weir_pg_examination *look, const struct weir_pattern *pattern) {
    struct weir_pg_table_name name;
    struct weir_str key_text;
    struct weir_error err;
    if (weir_pg_pattern_read(look->resource, pattern, &name, &key_text, &err) != WEIR_OK) {
        weir_pg_examine_tell(look, true, NULL, "%s", err.message);
        return;
    }
    free((char *)(uintptr_t)key_text.data);
    look_at_table(look, &name);
}

// ---- replication ----

static void look_at_replication(struct weir_pg_examination *look) {
    char remedy[TEXT_BYTES];
    struct weir_error err;
    PGconn *connection;
    struct weir_waiter waiter = {.until_ns =
                                     weir_clock_monotonic_ns() + look->resource->target.timeout_ns};
    if (weir_pg_connect(&look->resource->target, WEIR_PG_REPLICATION, &waiter, &connection, &err) ==
        WEIR_OK) {
        PQfinish(connection);
        return;
    }
    snprintf(remedy, sizeof remedy,
             "let %s in by pg_hba.conf (for the database itself: logical replication needs no line "
             "for \"replication\"), and see that max_wal_senders has room",
             PQuser(look->connection));
    weir_pg_examine_tell(look, true, remedy, "a replication connection is refused: %s",
                         err.message);
}

static void look_at_slot(struct weir_pg_examination *look) {
    const char *values[] = {look->resource->slot};
    PGresult *result = weir_pg_examine_ask(
        look,
        "SELECT coalesce(database, '') = current_database() AND plugin = "
        "'pgoutput', coalesce(active_pid, 0), "
        "pg_size_pretty(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)), "
        "coalesce(wal_status, '') FROM pg_replication_slots WHERE slot_name = $1",
        values, 1);
    if (!result) {
        return;
    }
    if (PQntuples(result) == 0) {
        weir_pg_examine_tell(look, false, NULL,
                             "the replication slot \"%s\" is made by the first subscription",
                             look->resource->slot);
    } else if (!weir_pg_examine_is_true(result, 0)) {
        weir_pg_examine_tell(look, true, "give the resource another one by the option `slot`",
                             "the replication slot \"%s\" belongs to another database or program",
                             look->resource->slot);
    } else if (strcmp(PQgetvalue(result, 0, 3), "lost") == 0) {
        weir_pg_examine_tell(
            look, false, NULL,
            "the server has removed what the replication slot \"%s\" kept: subscriptions will be "
            "told of a gap",
            look->resource->slot);
    } else {
        weir_pg_examine_tell(look, false, NULL,
                             "the replication slot \"%s\" keeps %s of the server's log%s",
                             look->resource->slot, PQgetvalue(result, 0, 2),
                             strcmp(PQgetvalue(result, 0, 1), "0") != 0 ? ", and is in use" : "");
    }
    PQclear(result);
}

// A call, and what is asked on it.
static weir_status begin(struct weir_resource *base, const struct weir_findings *findings,
                         struct weir_pg_call *ret_call, struct weir_pg_examination *ret_look,
                         struct weir_error *err) {
    weir_status status =
        weir_pg_call_begin((struct weir_pg_resource *)base, INT64_MAX, ret_call, err);
    *ret_look = (struct weir_pg_examination){.resource = ret_call->resource,
                                             .connection = ret_call->connection,
                                             .waiter = ret_call->waiter,
                                             .findings = findings,
                                             .err = err};
    return status;
}

weir_status weir_pg_examine(struct weir_resource *base, const struct weir_pattern *patterns,
                            size_t count, const struct weir_findings *findings,
                            struct weir_error *err) {
    struct weir_pg_call call;
    struct weir_error own;
    struct weir_pg_examination look;
    weir_status status = begin(base, findings, &call, &look, err ? err : &own);
    if (status != WEIR_OK) {
        return status;
    }
    look.is_watched = count > 0;
    look_at_version(&look);
    if (look.resource->mode == WEIR_PG_OUTBOX) {
        weir_pg_examine_outbox(&look);
    }
    if (look.resource->mode == WEIR_PG_CHANNELS || look.resource->mode == WEIR_PG_OUTBOX) {
        weir_pg_call_end(&call);
        return look.status;
    }
    if (look.is_watched) {
        look_at_settings(&look);
        look_at_rights(&look);
        look_at_replication(&look);
        look_at_slot(&look);
    }
    if (look.resource->mode == WEIR_PG_KV) {
        look_at_table(&look, &look.resource->kv);
    }
    for (size_t i = 0; i < count && look.resource->mode == WEIR_PG_ROWS; i++) {
        look_at_pattern(&look, &patterns[i]);
    }
    weir_pg_call_end(&call);
    return look.status;
}

// ---- taking away ----

static void withdraw_slot(struct weir_pg_examination *look) {
    const char *values[] = {look->resource->slot};
    PGresult *result =
        weir_pg_examine_ask(look,
                            "SELECT slot_name, pg_drop_replication_slot(slot_name) FROM "
                            "pg_replication_slots WHERE slot_name = $1 AND plugin = 'pgoutput' AND "
                            "database = current_database()",
                            values, 1);
    if (result && PQntuples(result) > 0) {
        weir_pg_examine_tell(look, false, NULL, "dropped the replication slot \"%s\"",
                             look->resource->slot);
    }
    PQclear(result);
}

static void withdraw_publication(struct weir_pg_examination *look) {
    char text[TEXT_BYTES], quoted[2 * WEIR_PG_NAME_BYTES + 4];
    const char *publication = look->resource->publication;
    PGresult *result =
        weir_pg_examine_ask(look,
                            "SELECT coalesce(obj_description(oid, 'pg_publication') LIKE "
                            "'" WEIR_PG_PUBLICATION_COMMENT "%', false) FROM pg_publication WHERE "
                            "pubname = $1",
                            (const char *const[]){publication}, 1);
    bool is_there = result && PQntuples(result) > 0,
         is_ours = result && weir_pg_examine_is_true(result, 0);
    PQclear(result);
    if (!is_ours) {
        if (is_there) {
            weir_pg_examine_tell(look, false, NULL,
                                 "left the publication \"%s\", which weir has not made",
                                 publication);
        }
        return;
    }
    snprintf(text, sizeof text, "DROP PUBLICATION %s",
             weir_pg_quote(publication, quoted, sizeof quoted));
    result = weir_pg_examine_ask(look, text, NULL, 0);
    if (result) {
        weir_pg_examine_tell(look, false, NULL, "dropped the publication \"%s\"", publication);
    }
    PQclear(result);
}

weir_status weir_pg_withdraw(struct weir_resource *base, const struct weir_findings *findings,
                             struct weir_error *err) {
    struct weir_pg_call call;
    struct weir_error own;
    struct weir_pg_examination look;
    weir_status status = begin(base, findings, &call, &look, err ? err : &own);
    if (status != WEIR_OK) {
        return status;
    }
    if (look.resource->mode == WEIR_PG_ROWS || look.resource->mode == WEIR_PG_KV) {
        withdraw_slot(&look);
        withdraw_publication(&look);
    }
    weir_pg_call_end(&call);
    return look.status;
}

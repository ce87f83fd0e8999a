// SPDX-License-Identifier: Apache-2.0
//
// The fixtures of the PostgreSQL provider: a table as a store, a table as an outbox, and a channel,
// each new for each case, on one server that lives as long as the test program. Somebody else is
// psycopg.
#include "contract/fixture.h"

#include "provider/provider.h"
#include "support/foreign.h"
#include "support/server.h"
#include "unit/test.h"

#include <stdlib.h>

enum { SQL_BYTES = 256 };

// Of the program; NULL until the first source is made.
static struct test_server *server;
static struct test_foreign *foreign;

struct source {
    char table[32]; // or channel
};

static void run(const char *sql) {
    json_decref(test_foreign_sql(foreign, sql, 0, NULL));
}

// What stands before and behind the source's table.
static void run_on(const struct source *source, const char *before, const char *behind,
                   size_t count, const struct weir_str parameters[]) {
    char sql[SQL_BYTES];
    snprintf(sql, sizeof sql, "%s %s %s", before, source->table, behind);
    json_decref(test_foreign_sql(foreign, sql, count, parameters));
}

static struct source *new_source(void) {
    static unsigned number;
    if (!server) {
        server = test_server_start(TEST_POSTGRES, NULL);
        foreign = server ? test_foreign_start(server) : NULL;
    }
    if (!foreign) {
        return NULL;
    }
    struct source *source = malloc(sizeof *source);
    assert_non_null(source);
    snprintf(source->table, sizeof source->table, "source_%u", ++number);
    return source;
}

static void set_server(void (*set)(void *context, const char *name, const char *text),
                       void *context) {
    char address[SQL_BYTES];
    snprintf(address, sizeof address, "127.0.0.1:%u/" TEST_POSTGRES_DATABASE,
             test_server_port(server));
    set(context, "address", address);
    set(context, "user", TEST_POSTGRES_USER);
}

// ---- a store ----

static void *setup(void) {
    struct source *source = new_source();
    if (source) {
        run_on(source, "CREATE TABLE", "(key bytea PRIMARY KEY, value bytea NOT NULL)", 0, NULL);
    }
    return source;
}

static size_t drop_slots(void) {
    run("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active");
    json_t *rows = test_foreign_sql(foreign, "SELECT 1 FROM pg_replication_slots", 0, NULL);
    size_t left = json_array_size(rows);
    json_decref(rows);
    return left;
}

// Slots are in use for a moment longer than their connections.
static void forget(void *source) {
    (void)source;
    WAIT_UNTIL(drop_slots() == 0);
}

static void teardown(void *source) {
    forget(source);
    run_on(source, "DROP TABLE IF EXISTS", "", 0, NULL);
    run("DROP PUBLICATION IF EXISTS weir_store, weir_other");
    free(source);
}

static void options(void *source, void (*set)(void *context, const char *name, const char *text),
                    void *context) {
    set_server(set, context);
    set(context, "kv", ((const struct source *)source)->table);
}

static void foreign_set(void *source, const char *key, const char *value) {
    const struct weir_str parameters[] = {weir_str_of(key), weir_str_of(value)};
    run_on(source, "INSERT INTO",
           "VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value", 2, parameters);
}

static void foreign_remove(void *source, const char *key) {
    const struct weir_str parameters[] = {weir_str_of(key)};
    run_on(source, "DELETE FROM", "WHERE key = $1", 1, parameters);
}

const struct fixture fixture_postgres = {
    .kind = "postgres",
    .setup = setup,
    .teardown = teardown,
    .options = options,
    .foreign_set = foreign_set,
    .foreign_remove = foreign_remove,
    .forget = forget,
};

// ---- an outbox ----

static void *setup_outbox(void) {
    struct source *source = new_source();
    if (source) {
        run_on(source, "CREATE TABLE",
               "(id bigint GENERATED ALWAYS AS IDENTITY, xid xid8 NOT NULL DEFAULT "
               "pg_current_xact_id(), key bytea NOT NULL, payload bytea, attributes jsonb, PRIMARY "
               "KEY (xid, id))",
               0, NULL);
    }
    return source;
}

static void teardown_outbox(void *source) {
    run_on(source, "DROP TABLE IF EXISTS", "", 0, NULL);
    free(source);
}

static void options_outbox(void *source,
                           void (*set)(void *context, const char *name, const char *text),
                           void *context) {
    set_server(set, context);
    set(context, "outbox", ((const struct source *)source)->table);
    set(context, "key_column", "key");
    set(context, "payload_column", "payload");
    set(context, "attributes_column", "attributes");
    set(context, "poll", "10ms");
}

const struct fixture fixture_postgres_outbox = {
    .kind = "postgres",
    .name = "postgres outbox",
    .capabilities =
        WEIR_CAN_WATCH | WEIR_CAN_REPLAY | WEIR_CAN_ACK | WEIR_CAN_PAUSE | WEIR_CAN_PUBLISH,
    .setup = setup_outbox,
    .teardown = teardown_outbox,
    .options = options_outbox,
};

// ---- a channel ----

static void *setup_channel(void) {
    return new_source();
}

static void options_channel(void *source,
                            void (*set)(void *context, const char *name, const char *text),
                            void *context) {
    set_server(set, context);
    set(context, "channels", ((const struct source *)source)->table);
}

const struct fixture fixture_postgres_channel = {
    .kind = "postgres",
    .name = "postgres channel",
    .capabilities = WEIR_CAN_WATCH | WEIR_CAN_PUBLISH,
    .setup = setup_channel,
    .teardown = free,
    .options = options_channel,
};

// SPDX-License-Identifier: Apache-2.0
//
// The tables, how they came to be version by version, and every statement on them.
//
// - A step of the table of migrations is never changed once it was released: a file of that version
//   is somewhere. A new version is a new step behind the last, and WEIR_STATE_SCHEMA_VERSION + 1.
//   All steps that a file needs are one transaction.
// - An index is paid for in every commit. There are none but those of the primary keys and of the
//   subscriptions' names: a journal's row is found by its number, which is the subscription's id
//   and the event's seq; a key's rows by passing over its subscription's, of which SQLite then
//   reads the first column only.
// - A statement that writes a row has the table's columns as its parameters, in their order, with
//   the sum behind them.
//
// No state; any thread.
#include "state/schema.h"

#include "state/state.h"

#include <stdio.h>

#define EVENT_COLUMNS                                                                 \
    "key, type, source, event_id, subject, time, datacontenttype, dataschema, data, " \
    "extensions, position, is_gap, specversion"
#define EVENT_PARAMETERS "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?"

#define JOURNAL_COLUMNS "row, " EVENT_COLUMNS ", attempts, sum"
#define SUBSCRIPTION_COLUMNS \
    "id, name, resource, pattern, is_ready, cursor, next_seq, row_count, sum"
#define OUTBOX_COLUMNS "id, subscription, target, " EVENT_COLUMNS ", sum"
#define DEAD_COLUMNS                                                                          \
    "id, subscription, target, reason, attempts, guest_hash, output, wall_ns, " EVENT_COLUMNS \
    ", sum"

// People open the file with sqlite3 and read this there, so it says what it is.
#define EVENT_COLUMNS_1                                                              \
    "  key BLOB NOT NULL,       -- what the source calls the thing that changed\n"   \
    "  type TEXT NOT NULL,      -- from here on the CloudEvent's attributes\n"       \
    "  source TEXT NOT NULL,\n"                                                      \
    "  event_id TEXT NOT NULL,\n"                                                    \
    "  subject TEXT,\n"                                                              \
    "  time TEXT,\n"                                                                 \
    "  datacontenttype TEXT,\n"                                                      \
    "  dataschema TEXT,\n"                                                           \
    "  data ANY,                -- TEXT or BLOB, as the payload is text or binary\n" \
    "  extensions TEXT,         -- a JSON object\n"                                  \
    "  position BLOB,           -- of the event in its source\n"                     \
    "  is_gap INTEGER NOT NULL,\n"                                                   \
    "  specversion TEXT,        -- NULL is 1.0\n"

static const char version_1[] =
    "CREATE TABLE meta (\n"
    "  name TEXT PRIMARY KEY NOT NULL,\n"
    "  value INTEGER NOT NULL,\n"
    "  sum INTEGER NOT NULL     -- XXH3-64 of the row's other columns, as in every table\n"
    ") STRICT, WITHOUT ROWID;\n"
    "CREATE TABLE subscription (\n"
    "  id INTEGER PRIMARY KEY NOT NULL,\n"
    "  name TEXT NOT NULL UNIQUE,\n"
    "  resource TEXT NOT NULL,\n"
    "  pattern TEXT NOT NULL,\n"
    "  is_ready INTEGER NOT NULL,\n"
    "  cursor BLOB NOT NULL,    -- every event at or below it is settled, or in the journal\n"
    "  next_seq INTEGER NOT NULL,\n"
    "  row_count INTEGER NOT NULL,\n"
    "  sum INTEGER NOT NULL\n"
    ") STRICT;\n"
    "CREATE TABLE journal (     -- events that were taken and are not settled\n"
    "  row INTEGER PRIMARY KEY NOT NULL, -- subscription's id << 40 | the event's "
    "seq\n" EVENT_COLUMNS_1 "  attempts INTEGER NOT NULL,\n"
    "  sum INTEGER NOT NULL\n"
    ") STRICT;\n"
    "CREATE TABLE note (        -- what was last told of each key\n"
    "  subscription INTEGER NOT NULL,\n"
    "  key BLOB NOT NULL,\n"
    "  fingerprint BLOB NOT NULL,\n"
    "  sum INTEGER NOT NULL,\n"
    "  PRIMARY KEY (subscription, key)\n"
    ") STRICT, WITHOUT ROWID;\n"
    "CREATE TABLE outbox (      -- derived events that are not published yet\n"
    "  id INTEGER PRIMARY KEY NOT NULL,\n"
    "  subscription TEXT NOT NULL,\n"
    "  target TEXT NOT NULL,\n" EVENT_COLUMNS_1 "  sum INTEGER NOT NULL\n"
    ") STRICT;\n"
    "CREATE TABLE dead (        -- events that were given up\n"
    "  id INTEGER PRIMARY KEY NOT NULL,\n"
    "  subscription TEXT NOT NULL,\n"
    "  target TEXT NOT NULL,    -- where a derived event was to go\n"
    "  reason TEXT NOT NULL,\n"
    "  attempts INTEGER NOT NULL,\n"
    "  guest_hash TEXT NOT NULL,\n"
    "  output BLOB NOT NULL,\n"
    "  wall_ns INTEGER NOT NULL,\n" EVENT_COLUMNS_1 "  sum INTEGER NOT NULL\n"
    ") STRICT;\n";

// steps[N] makes version N + 1 of version N.
static const char *const steps[] = {version_1};
_Static_assert(sizeof steps / sizeof steps[0] == WEIR_STATE_SCHEMA_VERSION,
               "each version has the step that leads to it");

const char *const weir_schema_sql[WEIR_SQL_COUNT] = {
    [WEIR_SQL_BEGIN] = "BEGIN IMMEDIATE",
    [WEIR_SQL_COMMIT] = "COMMIT",
    [WEIR_SQL_ROLLBACK] = "ROLLBACK",
    [WEIR_SQL_NUMBER_WRITE] = "INSERT INTO meta (name, value, sum) VALUES (?, ?, ?)",
    // Only from the number that is expected: ?4.
    [WEIR_SQL_NUMBER_MOVE] = "UPDATE meta SET value = ?2, sum = ?3 WHERE name = ?1 AND value = ?4",
    // A name has an index, which is not touched where only the rest changes.
    [WEIR_SQL_SUBSCRIPTION_UPDATE] =
        "UPDATE subscription SET resource = ?3, pattern = ?4, is_ready = ?5, cursor = ?6, "
        "next_seq = ?7, row_count = ?8, sum = ?9 WHERE id = ?1 AND name = ?2",
    // Of two that exchange their names neither has one of them in between.
    [WEIR_SQL_SUBSCRIPTION_UNNAME] =
        "UPDATE subscription SET name = name || '/' || id WHERE id = ?1 AND name <> ?2",
    // Not OR REPLACE: that would remove another subscription of this name.
    [WEIR_SQL_SUBSCRIPTION_WRITE] =
        "INSERT INTO subscription (" SUBSCRIPTION_COLUMNS ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (id) DO UPDATE SET name = ?2, resource = ?3, pattern = ?4, is_ready = ?5, "
        "cursor = ?6, next_seq = ?7, row_count = ?8, sum = ?9",
    [WEIR_SQL_NOTE_WRITE] =
        "INSERT OR REPLACE INTO note (subscription, key, fingerprint, sum) VALUES (?, ?, ?, ?)",
    [WEIR_SQL_NOTE_REMOVE] = "DELETE FROM note WHERE subscription = ? AND key = ?",
    [WEIR_SQL_JOURNAL_WRITE] = "INSERT OR REPLACE INTO journal (" JOURNAL_COLUMNS
                               ") VALUES (?, " EVENT_PARAMETERS ", ?, ?)",
    [WEIR_SQL_JOURNAL_READ] = "SELECT " JOURNAL_COLUMNS " FROM journal WHERE row = ?",
    [WEIR_SQL_JOURNAL_ATTEMPT] = "UPDATE journal SET attempts = ?, sum = ? WHERE row = ?",
    [WEIR_SQL_JOURNAL_REMOVE] = "DELETE FROM journal WHERE row = ?",
    [WEIR_SQL_OUTBOX_WRITE] = "INSERT OR REPLACE INTO outbox (" OUTBOX_COLUMNS
                              ") VALUES (?, ?, ?, " EVENT_PARAMETERS ", ?)",
    [WEIR_SQL_OUTBOX_REMOVE] = "DELETE FROM outbox WHERE id = ?",
    [WEIR_SQL_DEAD_WRITE] = "INSERT OR REPLACE INTO dead (" DEAD_COLUMNS
                            ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, " EVENT_PARAMETERS ", ?)",
    [WEIR_SQL_DEAD_REMOVE] = "DELETE FROM dead WHERE id = ?",
    [WEIR_SQL_LOAD_META] = "SELECT name, value, sum FROM meta ORDER BY name",
    [WEIR_SQL_LOAD_SUBSCRIPTIONS] = "SELECT " SUBSCRIPTION_COLUMNS " FROM subscription ORDER BY id",
    [WEIR_SQL_LOAD_JOURNAL] =
        "SELECT " JOURNAL_COLUMNS " FROM journal WHERE row BETWEEN ?1 AND ?2 ORDER BY row LIMIT ?3",
    [WEIR_SQL_LOAD_JOURNAL_OF_KEY] =
        "SELECT " JOURNAL_COLUMNS
        " FROM journal WHERE row BETWEEN ?1 AND ?2 AND key = ?4 ORDER BY row LIMIT ?3",
    [WEIR_SQL_LOAD_NOTES] = "SELECT subscription, key, fingerprint, sum FROM note "
                            "WHERE subscription = ? ORDER BY key",
    [WEIR_SQL_LOAD_OUTBOX] =
        "SELECT " OUTBOX_COLUMNS " FROM outbox WHERE id > ?1 ORDER BY id LIMIT ?2",
    [WEIR_SQL_LOAD_DEAD] = "SELECT " DEAD_COLUMNS " FROM dead WHERE id > ?1 ORDER BY id LIMIT ?2",
    [WEIR_SQL_LOAD_DEAD_BEFORE] =
        "SELECT " DEAD_COLUMNS " FROM dead WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
    [WEIR_SQL_LAST_OUTBOX] = "SELECT " OUTBOX_COLUMNS " FROM outbox ORDER BY id DESC LIMIT 1",
    [WEIR_SQL_LAST_DEAD] = "SELECT " DEAD_COLUMNS " FROM dead ORDER BY id DESC LIMIT 1",
    [WEIR_SQL_FIND_SUBSCRIPTION] =
        "SELECT " SUBSCRIPTION_COLUMNS " FROM subscription WHERE name = ?",
    [WEIR_SQL_FORGET_SUBSCRIPTION] = "DELETE FROM subscription WHERE id = ?",
    [WEIR_SQL_FORGET_JOURNAL] = "DELETE FROM journal WHERE row BETWEEN ?1 AND ?2",
    [WEIR_SQL_FORGET_NOTES] = "DELETE FROM note WHERE subscription = ?",
    [WEIR_SQL_FORGET_OUTBOX] = "DELETE FROM outbox WHERE subscription = ?",
    [WEIR_SQL_FORGET_DEAD] = "DELETE FROM dead WHERE subscription = ?",
};

const char *const weir_schema_rows_sql[WEIR_TABLE_COUNT] = {
    [WEIR_TABLE_META] = "SELECT name, value, sum FROM meta",
    [WEIR_TABLE_SUBSCRIPTION] = "SELECT " SUBSCRIPTION_COLUMNS " FROM subscription",
    [WEIR_TABLE_JOURNAL] = "SELECT " JOURNAL_COLUMNS " FROM journal",
    [WEIR_TABLE_NOTE] = "SELECT subscription, key, fingerprint, sum FROM note",
    [WEIR_TABLE_OUTBOX] = "SELECT " OUTBOX_COLUMNS " FROM outbox",
    [WEIR_TABLE_DEAD] = "SELECT " DEAD_COLUMNS " FROM dead",
};

weir_status weir_schema_read(struct weir_connection *connection, int *ret_version,
                             struct weir_error *err) {
    int64_t application_id = 0, version = 0, object_count = 0;
    weir_status status =
        weir_connection_ask(connection, "PRAGMA application_id", &application_id, NULL, 0, err);
    if (status == WEIR_OK) {
        status = weir_connection_ask(connection, "PRAGMA user_version", &version, NULL, 0, err);
    }
    if (status == WEIR_OK) {
        status = weir_connection_ask(connection, "SELECT count(*) FROM sqlite_schema",
                                     &object_count, NULL, 0, err);
    }
    if (status != WEIR_OK) {
        return status;
    }
    *ret_version = 0;
    if (application_id == 0 && version == 0 && object_count == 0) {
        return WEIR_OK; // weir was stopped between making the file and the first commit
    }
    if (application_id != WEIR_STATE_APPLICATION_ID || version < 1 || object_count == 0) {
        return weir_fail(err, WEIR_OTHER,
                         "%s is not a state database of weir's, or its first page is damaged: "
                         "bring the folder back from a backup, or move it aside to start anew",
                         connection->path);
    }
    if (version > WEIR_STATE_SCHEMA_VERSION) {
        return weir_fail(err, WEIR_OTHER,
                         "%s is of a newer weir (version %lld of the tables, this one knows up to "
                         "%d): use that weir, or another folder",
                         connection->path, (long long)version, WEIR_STATE_SCHEMA_VERSION);
    }
    *ret_version = (int)version;
    return WEIR_OK;
}

weir_status weir_schema_migrate(struct weir_connection *connection, int version,
                                struct weir_error *err) {
    char settings[128];
    snprintf(settings, sizeof settings, "PRAGMA application_id = %lld; PRAGMA user_version = %d",
             (long long)WEIR_STATE_APPLICATION_ID, WEIR_STATE_SCHEMA_VERSION);
    int code = SQLITE_OK;
    for (int step = version; code == SQLITE_OK && step < WEIR_STATE_SCHEMA_VERSION; step++) {
        code = sqlite3_exec(connection->db, steps[step], NULL, NULL, NULL);
    }
    if (code == SQLITE_OK && version < WEIR_STATE_SCHEMA_VERSION) {
        code = sqlite3_exec(connection->db, settings, NULL, NULL, NULL);
    }
    if (code != SQLITE_OK) {
        return weir_connection_fail(connection, code, "make the tables of", err);
    }
    return WEIR_OK;
}

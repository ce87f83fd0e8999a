// SPDX-License-Identifier: Apache-2.0
//
// bare-sqlite: see bare.h. PLACE is a database file, which is made in WAL mode. MODE rows: rows
// that are inserted into the table "events"; kv: the same of the table "store", which has the
// columns key and value. Who reads puts a trigger there that writes each into a log, reads the log
// READ_COUNT rows at a time, and then moves its cursor, which is a row in the same database. What
// wakes it is inotify, of the WAL; since SQLite writes there before others may see it, it then
// looks for LOOK_US again and again.
#include "bare.h"
#include "base/clock.h"
#include "support.h"

#include <inttypes.h>
#include <poll.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

enum {
    ROWS_AT_ONCE = 10, // in a transaction
    READ_COUNT = 512,
    MOVE_MS = 1000, // as weir does
    BUSY_MS = 10000,
    LOOK_US = 500,
    LOOK_AGAIN_US = 20,
    WAIT_MS = 100,
    BUFFER_BYTES = 4096,
    KEY_BYTES = 32,
};

static bool is_kv(const struct bare_place *place) {
    return strcmp(place->mode, "kv") == 0;
}

static void run(sqlite3 *db, const char *sql) {
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) {
        give_up(sql, sqlite3_errmsg(db));
    }
}

static sqlite3 *open_file(const struct bare_place *place) {
    sqlite3 *db;
    if (sqlite3_open_v2(place->address, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) !=
        SQLITE_OK) {
        give_up(place->address, sqlite3_errmsg(db));
    }
    sqlite3_busy_timeout(db, BUSY_MS);
    run(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL");
    return db;
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql) {
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL) != SQLITE_OK) {
        give_up(sql, sqlite3_errmsg(db));
    }
    return statement;
}

static void step(sqlite3 *db, sqlite3_stmt *statement) {
    if (sqlite3_step(statement) != SQLITE_DONE) {
        give_up(sqlite3_sql(statement), sqlite3_errmsg(db));
    }
    sqlite3_reset(statement);
}

static void make(const struct bare_place *place) {
    sqlite3 *db = open_file(place);
    run(db, is_kv(place) ? "CREATE TABLE store (key TEXT PRIMARY KEY, value TEXT)"
                         : "CREATE TABLE events (id INTEGER PRIMARY KEY, body TEXT)");
    sqlite3_close(db);
}

// ---- sending ----

struct sender {
    sqlite3 *db;
    sqlite3_stmt *begin, *insert, *commit;
    bool is_kv, has_begun;
};

static void *open_sender(const struct bare_place *place) {
    struct sender *sender = allocate_or_give_up(sizeof *sender);
    sender->db = open_file(place);
    sender->is_kv = is_kv(place);
    sender->begin = prepare(sender->db, "BEGIN IMMEDIATE");
    sender->commit = prepare(sender->db, "COMMIT");
    sender->insert = prepare(sender->db, sender->is_kv ? "INSERT INTO store VALUES (?, ?)"
                                                       : "INSERT INTO events VALUES (?, ?)");
    return sender;
}

static void send_one(void *context, uint64_t sequence, struct weir_str value) {
    struct sender *sender = context;
    char key[KEY_BYTES];
    int size = snprintf(key, sizeof key, "key-%" PRIu64, sequence);
    if (!sender->has_begun) {
        step(sender->db, sender->begin);
        sender->has_begun = true;
    }
    if (sender->is_kv) {
        sqlite3_bind_text(sender->insert, 1, key, size, SQLITE_STATIC);
    } else {
        sqlite3_bind_int64(sender->insert, 1, (sqlite3_int64)sequence);
    }
    sqlite3_bind_text(sender->insert, 2, value.data, (int)value.size, SQLITE_STATIC);
    step(sender->db, sender->insert);
}

static void flush(void *context, bool is_last) {
    struct sender *sender = context;
    (void)is_last; // it is there with the commit
    if (sender->has_begun) {
        step(sender->db, sender->commit);
        sender->has_begun = false;
    }
}

// ---- reading ----

struct reader {
    sqlite3 *db;
    sqlite3_stmt *select, *move;
    sqlite3_int64 cursor, moved; // what was read, and what the database knows of it
    int64_t moved_ns;
    int inotify_fd;
};

static void *open_reader(const struct bare_place *place) {
    struct reader *reader = allocate_or_give_up(sizeof *reader);
    sqlite3 *db = reader->db = open_file(place);
    run(db, "CREATE TABLE log (seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER, op INTEGER, key, "
            "value); CREATE TABLE cursor (seq INTEGER); INSERT INTO cursor VALUES (0)");
    run(db, is_kv(place)
                ? "CREATE TRIGGER fill AFTER INSERT ON store BEGIN INSERT INTO log VALUES "
                  "(NULL, unixepoch(), 1, NEW.key, NEW.value); END"
                : "CREATE TRIGGER fill AFTER INSERT ON events BEGIN INSERT INTO log VALUES "
                  "(NULL, unixepoch(), 1, NEW.id, NEW.body); END");
    reader->select = prepare(db, "SELECT seq, at, op, key, value FROM log WHERE seq > ? ORDER BY "
                                 "seq LIMIT ?");
    reader->move = prepare(db, "UPDATE cursor SET seq = ?");
    char *wal;
    reader->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (asprintf(&wal, "%s-wal", place->address) < 0 || reader->inotify_fd < 0 ||
        inotify_add_watch(reader->inotify_fd, wal, IN_MODIFY) < 0) {
        give_up_errno(place->address);
    }
    free(wal);
    return reader;
}

// Waits until somebody has written.
static void await_write(struct reader *reader) {
    char events[BUFFER_BYTES];
    struct pollfd inotify = {.fd = reader->inotify_fd, .events = POLLIN};
    poll(&inotify, 1, WAIT_MS);
    while (read(reader->inotify_fd, events, sizeof events) > 0) {
    }
}

static int read_rows(struct reader *reader, struct tally *tally) {
    int count = 0;
    sqlite3_bind_int64(reader->select, 1, reader->cursor);
    sqlite3_bind_int(reader->select, 2, READ_COUNT);
    while (sqlite3_step(reader->select) == SQLITE_ROW) {
        reader->cursor = sqlite3_column_int64(reader->select, 0);
        tally_take(tally, (const char *)sqlite3_column_text(reader->select, 4),
                   (size_t)sqlite3_column_bytes(reader->select, 4));
        count++;
    }
    if (sqlite3_reset(reader->select) != SQLITE_OK) {
        give_up("the log", sqlite3_errmsg(reader->db));
    }
    return count;
}

static void move(struct reader *reader) {
    sqlite3_bind_int64(reader->move, 1, reader->cursor);
    step(reader->db, reader->move);
    reader->moved = reader->cursor;
    reader->moved_ns = weir_clock_monotonic_ns();
}

static void read_some(void *context, struct tally *tally) {
    struct reader *reader = context;
    int count = read_rows(reader, tally);
    if (count == 0) {
        await_write(reader);
        int64_t until_ns = weir_clock_monotonic_ns() + LOOK_US * WEIR_NS_PER_MS / 1000;
        while ((count = read_rows(reader, tally)) == 0 && weir_clock_monotonic_ns() < until_ns) {
            nanosleep(&(struct timespec){.tv_nsec = LOOK_AGAIN_US * 1000}, NULL);
        }
    }
    if (reader->cursor > reader->moved &&
        weir_clock_monotonic_ns() - reader->moved_ns > MOVE_MS * WEIR_NS_PER_MS) {
        move(reader);
    }
}

static void finish(void *context) {
    struct reader *reader = context;
    move(reader);
    sqlite3_finalize(reader->select);
    sqlite3_finalize(reader->move);
    sqlite3_close(reader->db);
    close(reader->inotify_fd);
    free(reader);
}

int main(int argument_count, char **arguments) {
    static const struct bare_source source = {
        .at_once = ROWS_AT_ONCE,
        .make = make,
        .open_sender = open_sender,
        .send = send_one,
        .flush = flush,
        .open_reader = open_reader,
        .read = read_some,
        .finish = finish,
    };
    return bare_main(&source, argument_count, arguments);
}

// SPDX-License-Identifier: Apache-2.0
//
// bare-postgres: see bare.h. PLACE is a URI of PostgreSQL's. MODE rows: rows that are inserted into
// the table "events"; kv: the same of the table "store", which has the columns key and value. Each
// is inserted in a transaction of its own. They are read from a logical replication slot, by
// pgoutput, as far as a program has to that wants nothing but the inserted values; and the server
// is told how far it may forget when there is nothing to be read, and every STATUS_MS.
#include "bare.h"
#include "base/clock.h"
#include "support.h"

#include <endian.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROWS_AT_ONCE = 10, // in a transaction
    UNANSWERED_MAX = 4096,
    STATUS_MS = 5000, // as weir does
    STATUS_BYTES = 34,
    TEXT_BYTES = 1024,
    HEADER_BYTES = 25, // of a message with data of the log
    WAIT_MS = 10000,
};

static const char *table_of(const struct bare_place *place) {
    return strcmp(place->mode, "kv") == 0 ? "store" : "events";
}

static PGconn *connect_to(const char *uri) {
    PGconn *connection = PQconnectdb(uri);
    if (PQstatus(connection) != CONNECTION_OK) {
        give_up(uri, PQerrorMessage(connection));
    }
    return connection;
}

static void run(PGconn *connection, const char *statement) {
    PGresult *result = PQexec(connection, statement);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_COPY_BOTH) {
        give_up(statement, PQerrorMessage(connection));
    }
    PQclear(result);
}

static void make(const struct bare_place *place) {
    PGconn *connection = connect_to(place->address);
    run(connection, strcmp(place->mode, "kv") == 0
                        ? "CREATE TABLE store (key text PRIMARY KEY, value text)"
                        : "CREATE TABLE events (id bigint PRIMARY KEY, body text)");
    PQfinish(connection);
}

// ---- sending ----

struct sender {
    PGconn *connection;
    bool is_kv;
    size_t unanswered; // transactions
    bool has_begun;    // one
};

static void *open_sender(const struct bare_place *place) {
    char statement[TEXT_BYTES];
    struct sender *sender = allocate_or_give_up(sizeof *sender);
    *sender = (struct sender){.connection = connect_to(place->address),
                              .is_kv = strcmp(place->mode, "kv") == 0};
    snprintf(statement, sizeof statement, "PREPARE send AS INSERT INTO %s VALUES ($1, $2)",
             table_of(place));
    run(sender->connection, statement);
    if (!PQenterPipelineMode(sender->connection) || PQsetnonblocking(sender->connection, 1) != 0) {
        give_up("pipelining", PQerrorMessage(sender->connection));
    }
    return sender;
}

static void send_one(void *context, uint64_t sequence, struct weir_str value) {
    struct sender *sender = context;
    char key[TEXT_BYTES], body[STAMPED_BYTES + 1];
    snprintf(key, sizeof key, "%s%" PRIu64, sender->is_kv ? "key-" : "", sequence);
    memcpy(body, value.data, value.size);
    body[value.size] = '\0';
    const char *values[] = {key, body};
    // Up to the next synchronization it is one transaction.
    if (!PQsendQueryPrepared(sender->connection, "send", 2, values, NULL, NULL, 0)) {
        give_up("a statement", PQerrorMessage(sender->connection));
    }
    sender->has_begun = true;
}

// Reads the answers that are there.
static void take_answers(struct sender *sender) {
    PGconn *connection = sender->connection;
    if (!PQconsumeInput(connection)) {
        give_up("the server", PQerrorMessage(connection));
    }
    while (sender->unanswered > 0 && !PQisBusy(connection)) {
        PGresult *result = PQgetResult(connection);
        ExecStatusType status = PQresultStatus(result);
        if (result && status != PGRES_COMMAND_OK && status != PGRES_PIPELINE_SYNC) {
            give_up("a statement", PQresultErrorMessage(result));
        }
        sender->unanswered -= status == PGRES_PIPELINE_SYNC;
        PQclear(result);
    }
}

static void flush(void *context, bool is_last) {
    struct sender *sender = context;
    size_t most = is_last ? 0 : UNANSWERED_MAX;
    if (sender->has_begun && !PQpipelineSync(sender->connection)) {
        give_up("a transaction", PQerrorMessage(sender->connection));
    }
    sender->unanswered += sender->has_begun;
    sender->has_begun = false;
    for (;;) {
        int unsent = PQflush(sender->connection);
        take_answers(sender);
        if (unsent < 0) {
            give_up("the server", PQerrorMessage(sender->connection));
        }
        if (unsent == 0 && sender->unanswered <= most) {
            return;
        }
        struct pollfd socket = {.fd = PQsocket(sender->connection),
                                .events = (short)(POLLIN | (unsent ? POLLOUT : 0))};
        poll(&socket, 1, WAIT_MS);
    }
}

// ---- reading ----

struct reader {
    PGconn *connection;
    uint64_t end_lsn, told_lsn; // of the last transaction that was read, and told to the server
    int64_t told_ns;
    bool is_streaming;
};

static void *open_reader(const struct bare_place *place) {
    char text[TEXT_BYTES];
    struct reader *reader = allocate_or_give_up(sizeof *reader);
    PGconn *connection = connect_to(place->address);
    snprintf(text, sizeof text, "CREATE PUBLICATION bare FOR TABLE %s", table_of(place));
    run(connection, text);
    PQfinish(connection);
    snprintf(text, sizeof text, "%s?replication=database", place->address);
    reader->connection = connect_to(text);
    run(reader->connection, "CREATE_REPLICATION_SLOT bare LOGICAL pgoutput (SNAPSHOT 'nothing')");
    return reader;
}

// Not before there is reading: else what is sent meanwhile would wait in the socket's buffers.
static void begin_streaming(struct reader *reader) {
    run(reader->connection, "START_REPLICATION SLOT bare LOGICAL 0/0 (proto_version '1', "
                            "publication_names 'bare')");
    reader->is_streaming = true;
}

static uint64_t read_number(const char *at) {
    uint64_t number;
    memcpy(&number, at, sizeof number);
    return be64toh(number);
}

static size_t read_size(const char *at) {
    uint32_t size;
    memcpy(&size, at, sizeof size);
    return be32toh(size);
}

// 'I', relation (4), 'N', columns (2); of each 't', size (4), bytes.
static void take_row(const char *at, struct tally *tally) {
    at += 1 + 4 + 1 + 2;
    at += 1 + 4 + read_size(at + 1); // the key
    tally_take(tally, at + 1 + 4, read_size(at + 1));
}

static void tell_status(struct reader *reader) {
    char status[STATUS_BYTES] = {'r'};
    uint64_t lsn = htobe64(reader->end_lsn);
    for (size_t i = 0; i < 3; i++) { // written, flushed, applied
        memcpy(status + 1 + i * sizeof lsn, &lsn, sizeof lsn);
    }
    if (PQputCopyData(reader->connection, status, sizeof status) != 1 ||
        PQflush(reader->connection) < 0) {
        give_up("the server", PQerrorMessage(reader->connection));
    }
    reader->told_lsn = reader->end_lsn;
    reader->told_ns = weir_clock_monotonic_ns();
}

static void take_message(struct reader *reader, const char *message, size_t size,
                         struct tally *tally) {
    if (message[0] == 'k') {
        // 'k', end of the log (8), time (8), whether an answer is wanted
        if (message[size - 1]) {
            tell_status(reader);
        }
    } else if (message[HEADER_BYTES] == 'I') {
        take_row(message + HEADER_BYTES, tally);
    } else if (message[HEADER_BYTES] == 'C') {
        reader->end_lsn = read_number(message + HEADER_BYTES + 1 + 1 + 8);
    }
}

static void read_some(void *context, struct tally *tally) {
    struct reader *reader = context;
    char *message;
    int size;
    if (!reader->is_streaming) {
        begin_streaming(reader);
    }
    while ((size = PQgetCopyData(reader->connection, &message, 1)) > 0) {
        take_message(reader, message, (size_t)size, tally);
        PQfreemem(message);
        if (tally_is_full(tally)) {
            return;
        }
    }
    if (size < 0) {
        give_up("the server", PQerrorMessage(reader->connection));
    }
    if (reader->end_lsn > reader->told_lsn &&
        weir_clock_monotonic_ns() - reader->told_ns > STATUS_MS * WEIR_NS_PER_MS) {
        tell_status(reader);
    }
    struct pollfd socket = {.fd = PQsocket(reader->connection), .events = POLLIN};
    poll(&socket, 1, WAIT_MS);
    if (!PQconsumeInput(reader->connection)) {
        give_up("the server", PQerrorMessage(reader->connection));
    }
}

static void finish(void *context) {
    struct reader *reader = context;
    tell_status(reader);
    PQfinish(reader->connection);
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

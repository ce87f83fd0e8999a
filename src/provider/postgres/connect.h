// SPDX-License-Identifier: Apache-2.0
//
// Connections, and statements on them. The only file that waits for libpq, and it does so in
// poll(2) alone: what libpq has of its own that blocks (PQconnectdb, PQexec, PQgetResult before a
// result is there, PQcancel, the look-up of a name) is not called. A statement that takes too long
// is given up with its connection; the server ends it by the session's statement_timeout.
//
// A connection belongs to one thread at a time.
#ifndef WEIR_PROVIDER_POSTGRES_CONNECT_H
#define WEIR_PROVIDER_POSTGRES_CONNECT_H

#include "base/error.h"
#include "provider/lookup.h"
#include "provider/postgres/address.h"
#include "provider/wait.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum weir_pg_tls {
    WEIR_PG_TLS_AUTO,
    WEIR_PG_TLS_VERIFY_FULL,
    WEIR_PG_TLS_REQUIRE,
    WEIR_PG_TLS_OFF
};

// Where to connect to, and as whom. Constant while the resource is open.
struct weir_pg_target {
    struct weir_pg_address address; // user and database are those that hold
    char *password;                 // where it is, see secret.h; NULL: there is none
    enum weir_pg_tls tls;
    char *tls_ca;                 // a file; NULL: the system's
    int64_t timeout_ns;           // of a connection, and of a statement
    struct weir_lookups *lookups; // owned
};

enum weir_pg_session { WEIR_PG_SQL, WEIR_PG_REPLICATION };

// Connects, within target->timeout_ns and the waiter's moment. WEIR_UNAVAILABLE, WEIR_DENIED,
// WEIR_STOPPED, and what reading the password answers.
weir_status weir_pg_connect(const struct weir_pg_target *target, enum weir_pg_session session,
                            const struct weir_waiter *waiter, PGconn **ret_connection,
                            struct weir_error *err);

// A statement and its parameters. `text` alone (no parameters, is_simple) may hold several.
struct weir_pg_statement {
    const char *text;
    bool is_simple;     // by the simple protocol: that of a replication connection
    bool wants_binary;  // the values of the result
    bool is_row_by_row; // each row is a result of its own
    int count;
    const char *const *values;
    const int *sizes;   // of the binary ones
    const int *formats; // 1: binary
};

struct weir_pg_answer {
    PGresult *result; // the caller's, where it went well
    char state[6];    // SQLSTATE of what went wrong; "" where it did not come from the server
};

// Runs it and returns its last result. Where it is WEIR_UNAVAILABLE or WEIR_STOPPED without a
// state, the connection is not usable any more.
weir_status weir_pg_run(PGconn *connection, const struct weir_waiter *waiter,
                        const struct weir_pg_statement *statement,
                        struct weir_pg_answer *ret_answer, struct weir_error *err);

// The parts of it, for who reads row by row.
weir_status weir_pg_send(PGconn *connection, const struct weir_waiter *waiter,
                         const struct weir_pg_statement *statement, struct weir_error *err);
// The next result, NULL after the last one. What is an error in it is the caller's to find.
weir_status weir_pg_next(PGconn *connection, const struct weir_waiter *waiter,
                         PGresult **ret_result, struct weir_error *err);
// Waits until what libpq holds is sent.
weir_status weir_pg_flush(PGconn *connection, const struct weir_waiter *waiter,
                          struct weir_error *err);

// Reads what has come. False: the connection is lost. With TLS all that has come must be read
// before the socket is waited for, since what lies in the library's buffer makes no socket
// readable; libpq reads a part of it alone.
bool weir_pg_consume(PGconn *connection);

// The error of a result, with a status that fits its SQLSTATE.
weir_status weir_pg_fail(const PGresult *result, struct weir_error *err);
// The error of the connection.
weir_status weir_pg_fail_connection(PGconn *connection, struct weir_error *err);

// Whether it lies idle, and can be given another statement.
bool weir_pg_is_usable(PGconn *connection);
// The same, and the server has not closed it as far as is known by now. Asks nobody.
bool weir_pg_is_fresh(PGconn *connection);

static inline void weir_pg_clear(PGresult **result) {
    PQclear(*result); // NULL is allowed
}
#define WEIR_PG_AUTO_CLEAR __attribute__((cleanup(weir_pg_clear)))

#endif

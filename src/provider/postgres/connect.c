// SPDX-License-Identifier: Apache-2.0
//
// See connect.h.
#include "provider/postgres/connect.h"

#include "base/clock.h"
#include "config/secret.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    SETTINGS_MAX = 32,
    ADDRESSES_MAX = 4, // of a host, that are tried
    ADDRESS_BYTES = 64,
    LIST_BYTES = ADDRESSES_MAX * (WEIR_PG_HOST_BYTES + 1),
    MESSAGE_SHOWN_BYTES = 600, // of what the server says
    UNASKED_READS_MAX = 4,
    QUIET_READS = 3,
    TLS_READS_MAX = 64,   // at once
    LOCK_WAIT_MS = 24000, // of a replication connection: for transactions that are open
    IDLE_TRANSACTION_MS = 60000,
    STATEMENT_GRACE_MS = 1000, // a statement's time at the server beyond that of who waits for it
};

// ---- errors ----

// What a person is shown of a text of libpq's: one line, without what names only the place where
// it was sent to.
static const char *one_line(const char *text, char *buffer, size_t size) {
    size_t length = 0;
    for (; *text && length + 1 < size; text++) {
        bool is_blank = *text == '\n' || *text == '\t' || *text == ' ';
        if (!is_blank || (length > 0 && buffer[length - 1] != ' ')) {
            buffer[length++] = is_blank ? ' ' : *text;
        }
    }
    while (length > 0 && (buffer[length - 1] == ' ' || buffer[length - 1] == '.')) {
        length--;
    }
    buffer[length] = '\0';
    return buffer;
}

// By the class of the SQLSTATE, its first two letters, or all of it.
static weir_status status_of(const char *state) {
    static const struct {
        const char *prefix;
        weir_status status;
    } rows[] = {
        {"08P01", WEIR_INVALID},     // parameters that are missing
        {"08", WEIR_UNAVAILABLE},    // connection
        {"53", WEIR_UNAVAILABLE},    // insufficient resources
        {"57", WEIR_UNAVAILABLE},    // operator intervention, statement_timeout among it
        {"55P03", WEIR_UNAVAILABLE}, // lock_timeout
        {"40", WEIR_UNAVAILABLE},    // serialization, deadlock
        {"28", WEIR_DENIED},         // authorization
        {"42501", WEIR_DENIED},      // insufficient_privilege
        {"25006", WEIR_DENIED},      // read_only_sql_transaction
        {"3D000", WEIR_UNAVAILABLE}, // no such database: it may come
        {"42P01", WEIR_OTHER},       // no such table: it may come
        {"42", WEIR_INVALID},        // syntax, names
        {"22", WEIR_INVALID},        // data
        {"23", WEIR_INVALID},        // constraints
        {"0A", WEIR_UNSUPPORTED},    // feature_not_supported
        {"54", WEIR_LIMIT},          // program_limit_exceeded
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strncmp(state, rows[i].prefix, strlen(rows[i].prefix)) == 0) {
            return rows[i].status;
        }
    }
    return WEIR_OTHER;
}

weir_status weir_pg_fail(const PGresult *result, struct weir_error *err) {
    char shown[MESSAGE_SHOWN_BYTES], hint[MESSAGE_SHOWN_BYTES / 2];
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *advice = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
    if (!state) { // libpq's own: the connection
        return weir_fail(err, WEIR_UNAVAILABLE, "%s",
                         one_line(PQresultErrorMessage(result), shown, sizeof shown));
    }
    one_line(primary ? primary : "", shown, sizeof shown);
    one_line(advice ? advice : "", hint, sizeof hint);
    return weir_fail(err, status_of(state), "%s (SQLSTATE %s)%s%s", shown, state,
                     hint[0] ? "; " : "", hint);
}

weir_status weir_pg_fail_connection(PGconn *connection, struct weir_error *err) {
    char shown[MESSAGE_SHOWN_BYTES];
    one_line(PQerrorMessage(connection), shown, sizeof shown);
    return weir_fail(err, WEIR_UNAVAILABLE, "%s",
                     shown[0] ? shown : "the connection to the server is gone");
}

static weir_status fail_wait(weir_status status, const char *what, struct weir_error *err) {
    return weir_fail(err, status, "%s",
                     status == WEIR_STOPPED ? "the resource is being closed" : what);
}

// ---- connecting ----

// What a host's name stands for, as numbers. None: libpq needs none.
struct addresses {
    size_t count;
    char texts[ADDRESSES_MAX][ADDRESS_BYTES];
};

// libpq would look the name up by itself, within PQconnectPoll and without a bound.
static weir_status look_up(const struct weir_pg_target *target, const struct weir_waiter *waiter,
                           struct addresses *ret_addresses, struct weir_error *err) {
    struct addrinfo *found;
    const struct weir_place place = {.host = target->address.host};
    *ret_addresses = (struct addresses){.count = 0};
    if (!weir_pg_address_is_name(&target->address)) {
        return WEIR_OK;
    }
    weir_status status = weir_lookup(target->lookups, &place, waiter, &found, err);
    if (status != WEIR_OK) {
        return status;
    }
    for (const struct addrinfo *each = found; each && ret_addresses->count < ADDRESSES_MAX;
         each = each->ai_next) {
        char *text = ret_addresses->texts[ret_addresses->count];
        if (getnameinfo(each->ai_addr, each->ai_addrlen, text, ADDRESS_BYTES, NULL, 0,
                        NI_NUMERICHOST) == 0) {
            ret_addresses->count++;
        }
    }
    freeaddrinfo(found);
    return ret_addresses->count > 0
               ? WEIR_OK
               : weir_fail(err, WEIR_UNAVAILABLE, "the host \"%s\" has no address", place.host);
}

struct settings {
    const char *names[SETTINGS_MAX], *values[SETTINGS_MAX];
    size_t count; // the last one is NULL
};

static void set(struct settings *settings, const char *name, const char *value) {
    if (value && value[0]) {
        settings->names[settings->count] = name;
        settings->values[settings->count++] = value;
    }
}

// The certificates that this system trusts. libpq 15 has no word for them.
static const char *system_ca(void) {
    static const char *const places[] = {
        "/etc/ssl/certs/ca-certificates.crt",                // Debian, Alpine, Arch
        "/etc/pki/tls/certs/ca-bundle.crt",                  // Fedora, RHEL
        "/etc/ssl/ca-bundle.pem",                            // SUSE
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // RHEL from 7 on
    };
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        if (access(places[i], R_OK) == 0) {
            return places[i];
        }
    }
    return NULL;
}

static void set_tls(struct settings *settings, const struct weir_pg_target *target) {
    bool is_local = weir_pg_address_is_local(&target->address);
    enum weir_pg_tls tls = target->tls;
    if (tls == WEIR_PG_TLS_AUTO && is_local) {
        set(settings, "sslmode", "prefer");
        return;
    }
    set(settings, "sslmode",
        tls == WEIR_PG_TLS_OFF       ? "disable"
        : tls == WEIR_PG_TLS_REQUIRE ? "require"
                                     : "verify-full");
    if (tls == WEIR_PG_TLS_AUTO || tls == WEIR_PG_TLS_VERIFY_FULL) {
        set(settings, "sslrootcert", target->tls_ca ? target->tls_ca : system_ca());
    }
}

// Texts that the settings point to.
struct texts {
    char hosts[LIST_BYTES], addresses[LIST_BYTES];
    char options[320];
};

static void put_hosts(const struct weir_pg_address *address, const struct addresses *addresses,
                      struct texts *texts) {
    size_t hosts = 0, numbers = 0;
    for (size_t i = 0; i < addresses->count; i++) {
        const char *comma = i > 0 ? "," : "";
        hosts += (size_t)snprintf(texts->hosts + hosts, sizeof texts->hosts - hosts, "%s%s", comma,
                                  address->host);
        numbers += (size_t)snprintf(texts->addresses + numbers, sizeof texts->addresses - numbers,
                                    "%s%s", comma, addresses->texts[i]);
    }
    if (addresses->count == 0) {
        snprintf(texts->hosts, sizeof texts->hosts, "%s", address->host);
    }
}

// How the session writes values, so that the same value is the same text in each, and how long it
// works on a statement.
static void put_options(const struct weir_pg_target *target, enum weir_pg_session session,
                        struct texts *texts) {
    bool is_replication = session == WEIR_PG_REPLICATION;
    int64_t ms = target->timeout_ns / WEIR_NS_PER_MS + STATEMENT_GRACE_MS;
    snprintf(texts->options, sizeof texts->options,
             "-c datestyle=ISO -c intervalstyle=iso_8601 -c timezone=UTC -c extra_float_digits=1 "
             "-c bytea_output=hex -c statement_timeout=%" PRId64
             " -c lock_timeout=%d -c idle_in_transaction_session_timeout=%d",
             is_replication ? 0 : ms, is_replication ? LOCK_WAIT_MS : 0, IDLE_TRANSACTION_MS);
}

static weir_status start(const struct weir_pg_target *target, enum weir_pg_session session,
                         const struct addresses *addresses, PGconn **ret_connection,
                         struct weir_error *err) {
    struct weir_secret secret;
    struct texts texts = {.addresses = ""};
    struct settings settings = {.count = 0};
    weir_status status = weir_secret_read(target->password, &secret, err);
    if (status != WEIR_OK) {
        return weir_error_prefix(err, status, "the password");
    }
    const struct weir_pg_address *address = &target->address;
    put_hosts(address, addresses, &texts);
    put_options(target, session, &texts);
    set(&settings, "host", texts.hosts);
    set(&settings, "hostaddr", texts.addresses);
    set(&settings, "port", address->port);
    set(&settings, "dbname", address->database);
    set(&settings, "user", address->user);
    set(&settings, "password", secret.text);
    set(&settings, "application_name", "weir");
    set(&settings, "client_encoding", "UTF8");
    set(&settings, "options", texts.options);
    set(&settings, "gssencmode", "disable"); // Kerberos waits without a bound
    set(&settings, "target_session_attrs", "any");
    set(&settings, "keepalives_idle", "30");
    set(&settings, "keepalives_interval", "10");
    set(&settings, "keepalives_count", "3");
    set(&settings, "tcp_user_timeout", "30000");
    set(&settings, "replication", session == WEIR_PG_REPLICATION ? "database" : NULL);
    set_tls(&settings, target);
    *ret_connection = PQconnectStartParams(settings.names, settings.values, 0);
    weir_secret_forget(&secret);
    return *ret_connection ? WEIR_OK : weir_fail_no_memory(err, "a connection");
}

static void ignore_notice(void *context, const PGresult *result) {
    (void)context;
    (void)result;
}

static weir_status poll_connection(PGconn *connection, const struct weir_waiter *waiter,
                                   struct weir_error *err) {
    // The first step is to wait until the socket can be written to.
    PostgresPollingStatusType step =
        PQstatus(connection) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING;
    while (step != PGRES_POLLING_OK && step != PGRES_POLLING_FAILED) { // ends: the waiter's moment
        weir_status status = weir_wait(waiter, PQsocket(connection),
                                       step == PGRES_POLLING_READING ? POLLIN : POLLOUT);
        if (status != WEIR_OK) {
            return fail_wait(status, "the server did not answer in time", err);
        }
        step = PQconnectPoll(connection);
    }
    return step == PGRES_POLLING_OK ? WEIR_OK : weir_pg_fail_connection(connection, err);
}

// libpq keeps no SQLSTATE of a connection that failed: its texts are what there is. The server's
// messages come in its own language, so this is a hint, and the text says it all.
static weir_status refine(weir_status status, PGconn *connection, struct weir_error *err) {
    static const char *const denials[] = {"password authentication failed",
                                          "no pg_hba.conf entry",
                                          "permission denied",
                                          "is not permitted to log in",
                                          "no password supplied",
                                          "must be superuser or replication"};
    const char *text = PQerrorMessage(connection);
    for (size_t i = 0; status == WEIR_UNAVAILABLE && i < sizeof denials / sizeof denials[0]; i++) {
        if (strstr(text, denials[i])) {
            err->status = status = WEIR_DENIED;
        }
    }
    return status;
}

weir_status weir_pg_connect(const struct weir_pg_target *target, enum weir_pg_session session,
                            const struct weir_waiter *outer, PGconn **ret_connection,
                            struct weir_error *err) {
    struct weir_waiter waiter = weir_waiter_within(outer, target->timeout_ns);
    struct addresses addresses;
    struct weir_error own;
    PGconn *connection = NULL;
    err = err ? err : &own;
    *ret_connection = NULL;
    weir_status status = look_up(target, &waiter, &addresses, err);
    status = status == WEIR_OK ? start(target, session, &addresses, &connection, err) : status;
    if (status == WEIR_OK) {
        PQsetNoticeReceiver(connection, ignore_notice, NULL);
        status = poll_connection(connection, &waiter, err);
        status = status == WEIR_OK ? WEIR_OK : refine(status, connection, err);
    }
    if (status == WEIR_OK && PQsetnonblocking(connection, 1) != 0) {
        status = weir_pg_fail_connection(connection, err);
    }
    if (status != WEIR_OK) {
        PQfinish(connection);
        return weir_error_prefix(err, status, "cannot connect to %s:%s/%s", target->address.host,
                                 target->address.port, target->address.database);
    }
    *ret_connection = connection;
    return WEIR_OK;
}

// ---- statements ----

static bool is_readable(PGconn *connection) {
    struct pollfd ready = {.fd = PQsocket(connection), .events = POLLIN};
    return poll(&ready, 1, 0) > 0;
}

bool weir_pg_consume(PGconn *connection) {
    bool is_good = PQconsumeInput(connection);
    if (!is_good || !PQsslInUse(connection)) {
        return is_good;
    }
    // When nothing comes any more there is at most one record left, of 16 KiB, and each call takes
    // 8 KiB of it or more.
    for (int i = 0, quiet = 0; is_good && quiet < QUIET_READS && i < TLS_READS_MAX; i++) {
        quiet = is_readable(connection) ? 0 : quiet + 1;
        is_good = PQconsumeInput(connection);
    }
    return is_good;
}

weir_status weir_pg_flush(PGconn *connection, const struct weir_waiter *waiter,
                          struct weir_error *err) {
    for (;;) { // ends: the waiter's moment
        int left = PQflush(connection);
        if (left <= 0) {
            return left == 0 ? WEIR_OK : weir_pg_fail_connection(connection, err);
        }
        // What the server sends meanwhile must be read, or it stops reading.
        weir_status status = weir_wait(waiter, PQsocket(connection), POLLIN | POLLOUT);
        if (status != WEIR_OK) {
            return fail_wait(status, "the server did not take the statement in time", err);
        }
        if (!weir_pg_consume(connection)) {
            return weir_pg_fail_connection(connection, err);
        }
    }
}

weir_status weir_pg_send(PGconn *connection, const struct weir_waiter *waiter,
                         const struct weir_pg_statement *statement, struct weir_error *err) {
    int is_sent = statement->is_simple
                      ? PQsendQuery(connection, statement->text)
                      : PQsendQueryParams(connection, statement->text, statement->count, NULL,
                                          statement->values, statement->sizes, statement->formats,
                                          statement->wants_binary);
    if (!is_sent) {
        return weir_pg_fail_connection(connection, err);
    }
    if (statement->is_row_by_row) {
        PQsetSingleRowMode(connection);
    }
    return weir_pg_flush(connection, waiter, err);
}

weir_status weir_pg_next(PGconn *connection, const struct weir_waiter *waiter,
                         PGresult **ret_result, struct weir_error *err) {
    *ret_result = NULL;
    while (PQisBusy(connection)) { // ends: the waiter's moment
        weir_status status = weir_wait(waiter, PQsocket(connection), POLLIN);
        if (status != WEIR_OK) {
            return fail_wait(status, "the server did not answer in time", err);
        }
        if (!weir_pg_consume(connection)) {
            return weir_pg_fail_connection(connection, err);
        }
    }
    *ret_result = PQgetResult(connection);
    return WEIR_OK;
}

static bool is_copy(const PGresult *result) {
    ExecStatusType kind = PQresultStatus(result);
    return kind == PGRES_COPY_BOTH || kind == PGRES_COPY_IN || kind == PGRES_COPY_OUT;
}

static bool is_error(const PGresult *result) {
    ExecStatusType kind = PQresultStatus(result);
    return kind == PGRES_FATAL_ERROR || kind == PGRES_BAD_RESPONSE || kind == PGRES_EMPTY_QUERY;
}

static void note_error(const PGresult *result, weir_status *status,
                       struct weir_pg_answer *ret_answer, struct weir_error *err) {
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    snprintf(ret_answer->state, sizeof ret_answer->state, "%s", state ? state : "");
    *status = weir_pg_fail(result, err);
}

weir_status weir_pg_run(PGconn *connection, const struct weir_waiter *waiter,
                        const struct weir_pg_statement *statement,
                        struct weir_pg_answer *ret_answer, struct weir_error *err) {
    *ret_answer = (struct weir_pg_answer){.result = NULL};
    weir_status sent = weir_pg_send(connection, waiter, statement, err), failed = WEIR_OK;
    if (sent != WEIR_OK) {
        return sent;
    }
    PGresult *last = NULL;
    for (;;) { // ends: a statement has so many results
        PGresult *result;
        weir_status status = weir_pg_next(connection, waiter, &result, err);
        if (status != WEIR_OK || !result) {
            failed = status != WEIR_OK ? status : failed;
            break;
        }
        if (is_error(result) && failed == WEIR_OK) { // the first one is the cause
            note_error(result, &failed, ret_answer, err);
        }
        PQclear(last);
        last = result;
        if (is_copy(result)) {
            break; // what follows is no result
        }
    }
    if (failed != WEIR_OK) {
        PQclear(last);
        return failed;
    }
    if (!last) {
        return weir_pg_fail_connection(connection, err);
    }
    ret_answer->result = last;
    return WEIR_OK;
}

bool weir_pg_is_usable(PGconn *connection) {
    return PQstatus(connection) == CONNECTION_OK && PQtransactionStatus(connection) == PQTRANS_IDLE;
}

// A session that is ended is told so in a message, for which nobody has asked, ...
static void note_end(void *context, const PGresult *result) {
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    bool *ret_is_ended = context;
    *ret_is_ended |= severity && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0);
}

bool weir_pg_is_fresh(PGconn *connection) {
    bool is_ended = false;
    if (!weir_pg_is_usable(connection)) {
        return false;
    }
    PQsetNoticeReceiver(connection, note_end, &is_ended);
    // ... and then the connection is closed, which may come a moment later.
    for (int reads = 0; reads < UNASKED_READS_MAX && !is_ended && is_readable(connection);
         reads++) {
        is_ended = !PQconsumeInput(connection);
        PQisBusy(connection); // has libpq read what has come
    }
    PQsetNoticeReceiver(connection, ignore_notice, NULL);
    return !is_ended && weir_pg_is_usable(connection);
}

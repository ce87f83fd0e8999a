// SPDX-License-Identifier: Apache-2.0
//
// See connection.h. Of hiredis only the reader is used (reply.c): its own sockets know no time but
// for a whole call, look names up without one, and have no TLS in Debian's version.
//
// What is unsent is one buffer, sent from its front. Whoever appends bounds it.
#include "provider/redis/connection.h"

#include "base/clock.h"
#include "base/digits.h"
#include "base/show.h"
#include "config/secret.h"
#include "provider/dial.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    CHUNK_BYTES = 16 << 10,        // that are read at once
    UNSENT_BYTES_KEPT = 256 << 10, // a larger buffer is given back when it is empty
    GREETING_WORDS_MAX = 3,        // of a command of the greeting
    GREETINGS_MAX = 5,             // its commands
};

struct weir_redis_connection {
    const struct weir_redis_endpoint *endpoint;
    int fd;
    pid_t pid; // whose it is
    int64_t id;
    int64_t heard_ns;
    struct weir_tls_session *tls; // NULL: none
    struct weir_redis_reader *reader;
    char *unsent;
    size_t unsent_at, unsent_size, unsent_room;
};

// ---- endpoints ----

static weir_status fail_address(const char *address, struct weir_error *err) {
    char shown[WEIR_SHOW_BYTES];
    return weir_fail(err, WEIR_INVALID,
                     "`address` is \"%s\"; it is HOST:PORT, [IPV6]:PORT, or the path of a Unix "
                     "socket, which begins with \"/\"",
                     weir_show(weir_str_of(address), shown, sizeof shown));
}

static bool is_port(const char *text) {
    char *end;
    unsigned long port = strtoul(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && port > 0 && port <= UINT16_MAX;
}

// Where the host of "HOST:PORT" ends, and where its port begins; NULL: there is none.
static const char *split(const char *address, size_t *ret_host_at, size_t *ret_host_size) {
    const char *bracket = address[0] == '[' ? strchr(address, ']') : NULL;
    const char *colon = strrchr(bracket ? bracket : address, ':');
    const char *end = bracket ? bracket : colon ? colon : address + strlen(address);
    *ret_host_at = bracket ? 1 : 0;
    *ret_host_size = (size_t)(end - address) - *ret_host_at;
    return colon ? colon + 1 : NULL;
}

weir_status weir_redis_endpoint_parse(struct weir_redis_endpoint *endpoint, const char *address,
                                      struct weir_error *err) {
    size_t host_at, host_size;
    char default_port[8];
    if (address[0] == '/') {
        if (strlen(address) >= sizeof((struct sockaddr_un *)NULL)->sun_path) {
            return weir_fail(err, WEIR_INVALID,
                             "`address` is a path of %zu bytes; the longest "
                             "that a Unix socket can have is %zu",
                             strlen(address), sizeof((struct sockaddr_un *)NULL)->sun_path - 1);
        }
        endpoint->path = strdup(address);
        return endpoint->path ? WEIR_OK : weir_fail_no_memory(err, "an address");
    }
    snprintf(default_port, sizeof default_port, "%d", WEIR_REDIS_DEFAULT_PORT);
    const char *port = split(address, &host_at, &host_size);
    port = port ? port : default_port;
    const char *host = address + host_at;
    bool is_bare_ipv6 = host_at == 0 && memchr(host, ':', host_size);
    if (host_size == 0 || !is_port(port) || strchr(address, '/') || is_bare_ipv6) {
        return fail_address(address, err);
    }
    endpoint->host = strndup(host, host_size);
    endpoint->port = strdup(port);
    return endpoint->host && endpoint->port ? WEIR_OK : weir_fail_no_memory(err, "an address");
}

void weir_redis_endpoint_finish(struct weir_redis_endpoint *endpoint) {
    free(endpoint->host);
    free(endpoint->port);
    free(endpoint->path);
    weir_tls_destroy(endpoint->tls);
    weir_lookups_destroy(endpoint->lookups);
    *endpoint = (struct weir_redis_endpoint){0};
}

// ---- waiting ----

static weir_status wait_for(struct weir_redis_connection *connection,
                            const struct weir_waiter *waiter, short events,
                            struct weir_error *err) {
    weir_status status = weir_wait(waiter, connection->fd, events);
    if (status == WEIR_UNAVAILABLE) {
        return weir_fail(err, status, "Redis at %s did not answer in time",
                         connection->endpoint->address);
    }
    return status == WEIR_OK ? status
                             : weir_fail(err, status, "waiting for Redis at %s was given up",
                                         connection->endpoint->address);
}

// ---- bytes ----

static weir_status fail_bytes(struct weir_redis_connection *connection, int code,
                              struct weir_error *err) {
    weir_fail_errno(err, code, "the connection to Redis at %s broke",
                    connection->endpoint->address);
    if (err) {
        err->status = WEIR_UNAVAILABLE;
    }
    return WEIR_UNAVAILABLE;
}

static weir_status read_bytes(struct weir_redis_connection *connection, char *buffer, size_t size,
                              size_t *ret_size, struct weir_error *err) {
    *ret_size = 0;
    if (connection->tls) {
        return weir_tls_read(connection->tls, buffer, size, ret_size, err);
    }
    ssize_t got = recv(connection->fd, buffer, size, 0);
    if (got < 0) {
        return errno == EAGAIN || errno == EINTR ? WEIR_AGAIN : fail_bytes(connection, errno, err);
    }
    *ret_size = (size_t)got;
    return WEIR_OK;
}

static weir_status write_bytes(struct weir_redis_connection *connection, const char *bytes,
                               size_t size, size_t *ret_size, struct weir_error *err) {
    *ret_size = 0;
    if (connection->tls) {
        return weir_tls_write(connection->tls, bytes, size, ret_size, err);
    }
    ssize_t sent = send(connection->fd, bytes, size, MSG_NOSIGNAL);
    if (sent < 0) {
        return errno == EAGAIN || errno == EINTR ? WEIR_AGAIN : fail_bytes(connection, errno, err);
    }
    *ret_size = (size_t)sent;
    return WEIR_OK;
}

// Reads a piece. WEIR_AGAIN: there is none.
static weir_status read_piece(struct weir_redis_connection *connection, struct weir_error *err) {
    char buffer[CHUNK_BYTES];
    size_t size;
    weir_status status = read_bytes(connection, buffer, sizeof buffer, &size, err);
    if (status != WEIR_OK) {
        return status;
    }
    if (size == 0) {
        return weir_fail(err, WEIR_UNAVAILABLE, "Redis at %s has closed the connection",
                         connection->endpoint->address);
    }
    connection->heard_ns = weir_clock_coarse_ns();
    return weir_redis_reader_feed(connection->reader, (struct weir_str){buffer, size}, err);
}

// ---- commands ----

static bool make_room(struct weir_redis_connection *connection, size_t more) {
    if (connection->unsent_room - connection->unsent_size >= more) {
        return true;
    }
    size_t waiting = weir_redis_unsent_bytes(connection);
    if (connection->unsent_at > 0) {
        memmove(connection->unsent, connection->unsent + connection->unsent_at, waiting);
    }
    connection->unsent_at = 0;
    connection->unsent_size = waiting;
    size_t room = connection->unsent_room ? connection->unsent_room : CHUNK_BYTES;
    while (room - waiting < more) {
        room *= 2;
    }
    if (room == connection->unsent_room) {
        return true;
    }
    char *grown = realloc(connection->unsent, room);
    if (grown) {
        connection->unsent = grown;
        connection->unsent_room = room;
    }
    return grown != NULL;
}

static char *put(char *at, struct weir_str bytes) {
    if (bytes.size > 0) {
        memcpy(at, bytes.data, bytes.size);
    }
    return at + bytes.size;
}

static char *put_length(char *at, char kind, size_t length) {
    *at++ = kind;
    at += weir_decimal(length, at);
    return put(at, WEIR_STR("\r\n"));
}

// An array of bulk strings, written where it is sent from. hiredis would print each length, and
// into memory of its own: for the two commands of each key that was two fifths of what this source
// did.
weir_status weir_redis_append(struct weir_redis_connection *connection,
                              const struct weir_str *words, size_t count, struct weir_error *err) {
    const size_t length_max = sizeof "$" + WEIR_DECIMAL_BYTES_MAX + sizeof "\r\n";
    size_t size = length_max;
    for (size_t i = 0; i < count; i++) {
        size += length_max + words[i].size + sizeof "\r\n";
    }
    if (!make_room(connection, size)) {
        return weir_fail_no_memory(err, "a command");
    }
    char *at = put_length(connection->unsent + connection->unsent_size, '*', count);
    for (size_t i = 0; i < count; i++) {
        at = put_length(at, '$', words[i].size);
        at = put(put(at, words[i]), WEIR_STR("\r\n"));
    }
    connection->unsent_size = (size_t)(at - connection->unsent);
    return WEIR_OK;
}

size_t weir_redis_unsent_bytes(const struct weir_redis_connection *connection) {
    return connection->unsent_size - connection->unsent_at;
}

weir_status weir_redis_send(struct weir_redis_connection *connection, struct weir_error *err) {
    while (connection->unsent_at < connection->unsent_size) {
        size_t sent;
        weir_status status =
            write_bytes(connection, connection->unsent + connection->unsent_at,
                        connection->unsent_size - connection->unsent_at, &sent, err);
        if (status != WEIR_OK) {
            return status == WEIR_AGAIN ? WEIR_OK : status;
        }
        connection->unsent_at += sent;
    }
    connection->unsent_at = connection->unsent_size = 0;
    if (connection->unsent_room > UNSENT_BYTES_KEPT) {
        free(connection->unsent);
        connection->unsent = NULL;
        connection->unsent_room = 0;
    }
    return WEIR_OK;
}

weir_status weir_redis_receive(struct weir_redis_connection *connection,
                               struct weir_redis_reply **ret_reply, struct weir_error *err) {
    weir_status status;
    do { // ends: what comes without end is beyond the reply's bound
        status = weir_redis_reader_next(connection->reader, ret_reply, err);
    } while (status == WEIR_AGAIN && (status = read_piece(connection, err)) == WEIR_OK);
    return status;
}

int weir_redis_fd(const struct weir_redis_connection *connection) {
    return connection->fd;
}

short weir_redis_events(const struct weir_redis_connection *connection) {
    bool has_unsent = weir_redis_unsent_bytes(connection) > 0;
    return connection->tls ? weir_tls_events(connection->tls, has_unsent)
                           : (short)(POLLIN | (has_unsent ? POLLOUT : 0));
}

weir_status weir_redis_await(struct weir_redis_connection *connection,
                             const struct weir_waiter *waiter, struct weir_redis_reply **ret_reply,
                             struct weir_error *err) {
    *ret_reply = NULL;
    for (;;) { // ends at the moment
        weir_status status = weir_redis_send(connection, err);
        if (status == WEIR_OK) {
            status = weir_redis_receive(connection, ret_reply, err);
        }
        if (status == WEIR_AGAIN) {
            status = wait_for(connection, waiter, weir_redis_events(connection), err);
            if (status == WEIR_OK) {
                continue;
            }
        }
        return status;
    }
}

void weir_redis_bound(struct weir_redis_connection *connection, uint64_t reply_bytes_max) {
    weir_redis_reader_bound(connection->reader, reply_bytes_max);
}

int64_t weir_redis_connection_id(const struct weir_redis_connection *connection) {
    return connection->id;
}

int64_t weir_redis_heard_ns(const struct weir_redis_connection *connection) {
    return connection->heard_ns;
}

bool weir_redis_is_fresh(const struct weir_redis_connection *connection) {
    char byte;
    return connection->pid == getpid() &&
           recv(connection->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

// ---- connecting ----

// Tries the addresses one after the other; each gets its share of the time that is left.
static weir_status connect_to_any(struct weir_redis_connection *connection,
                                  const struct addrinfo *addresses,
                                  const struct weir_waiter *waiter, struct weir_error *err) {
    size_t left = 0;
    for (const struct addrinfo *each = addresses; each; each = each->ai_next) {
        left++;
    }
    weir_status status = WEIR_UNAVAILABLE;
    for (const struct addrinfo *each = addresses; each; each = each->ai_next, left--) {
        struct weir_waiter share = weir_waiter_share(waiter, left);
        status = weir_dial(each->ai_addr, each->ai_addrlen, &share, &connection->fd, err);
        if (status != WEIR_UNAVAILABLE && status != WEIR_DENIED) {
            break;
        }
    }
    return status;
}

static weir_status connect_socket(struct weir_redis_connection *connection,
                                  const struct weir_waiter *waiter, struct weir_error *err) {
    const struct weir_redis_endpoint *endpoint = connection->endpoint;
    if (endpoint->path) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        memcpy(address.sun_path, endpoint->path, strlen(endpoint->path) + 1);
        return weir_dial((const struct sockaddr *)&address, sizeof address, waiter, &connection->fd,
                         err);
    }
    struct addrinfo *addresses;
    const struct weir_place place = {.host = endpoint->host, .port = endpoint->port};
    weir_status status = weir_lookup(endpoint->lookups, &place, waiter, &addresses, err);
    if (status == WEIR_OK) {
        status = connect_to_any(connection, addresses, waiter, err);
        freeaddrinfo(addresses);
    }
    return status;
}

// A socket, in TLS where that is wanted.
static weir_status reach(struct weir_redis_connection *connection, const struct weir_waiter *waiter,
                         struct weir_error *err) {
    const struct weir_redis_endpoint *endpoint = connection->endpoint;
    weir_status status = connect_socket(connection, waiter, err);
    if (status == WEIR_OK && endpoint->tls) {
        const struct weir_tls_args args = {.fd = connection->fd, .host = endpoint->host};
        status = weir_tls_begin(endpoint->tls, &args, waiter, &connection->tls, err);
    }
    return weir_error_prefix(status == WEIR_OK ? NULL : err, status,
                             "cannot connect to Redis at %s", endpoint->address);
}

// A command by which a connection makes itself known.
struct greeting {
    struct weir_str words[GREETING_WORDS_MAX];
    size_t count;
    const char *doing;
    bool may_be_denied; // somebody without the right can do without
};

static size_t make_greetings(const struct weir_redis_endpoint *endpoint,
                             const struct weir_secret *password, const char *database,
                             struct greeting ret_greetings[static GREETINGS_MAX]) {
    struct weir_str secret = {password->text, password->size};
    size_t count = 0;
    if (endpoint->user) {
        ret_greetings[count++] =
            (struct greeting){.words = {WEIR_STR("AUTH"), weir_str_of(endpoint->user), secret},
                              .count = 3,
                              .doing = "logging in"};
    } else if (endpoint->password) {
        ret_greetings[count++] = (struct greeting){
            .words = {WEIR_STR("AUTH"), secret}, .count = 2, .doing = "logging in"};
    }
    if (endpoint->database != 0) { // where a connection begins
        ret_greetings[count++] =
            (struct greeting){.words = {WEIR_STR("SELECT"), weir_str_of(database)},
                              .count = 2,
                              .doing = "choosing the database"};
    }
    ret_greetings[count++] = (struct greeting){
        .words = {WEIR_STR("CLIENT"), WEIR_STR("SETNAME"), weir_str_of(endpoint->name)},
        .count = 3,
        .doing = "saying hello",
        .may_be_denied = true};
    // Answered with what keeps the server from its work, if something does.
    ret_greetings[count++] = (struct greeting){
        .words = {WEIR_STR("PING")}, .count = 1, .doing = "saying hello", .may_be_denied = true};
    ret_greetings[count++] = (struct greeting){.words = {WEIR_STR("CLIENT"), WEIR_STR("ID")},
                                               .count = 2,
                                               .doing = "saying hello",
                                               .may_be_denied = true};
    return count;
}

// Takes the answer to a greeting.
static weir_status take_greeting(struct weir_redis_connection *connection,
                                 const struct greeting *greeting, const struct weir_waiter *waiter,
                                 struct weir_error *err) {
    struct weir_redis_reply *reply;
    weir_status status = weir_redis_await(connection, waiter, &reply, err);
    if (status != WEIR_OK) {
        return status;
    }
    if (!greeting->may_be_denied || !weir_redis_reply_fails_with(reply, "NOPERM")) {
        status = weir_redis_reply_status(reply, greeting->doing, err);
        status = weir_error_prefix(status == WEIR_OK ? NULL : err, status, "Redis at %s",
                                   connection->endpoint->address);
    }
    if (weir_redis_reply_is(reply, WEIR_REDIS_INTEGER)) { // CLIENT ID alone answers one
        connection->id = reply->integer;
    }
    weir_redis_reply_free(reply);
    return status;
}

static weir_status greet(struct weir_redis_connection *connection, const struct greeting *greetings,
                         size_t count, const struct weir_waiter *waiter, struct weir_error *err) {
    weir_status status = WEIR_OK;
    for (size_t i = 0; status == WEIR_OK && i < count; i++) {
        status = weir_redis_append(connection, greetings[i].words, greetings[i].count, err);
    }
    for (size_t i = 0; status == WEIR_OK && i < count; i++) {
        status = take_greeting(connection, &greetings[i], waiter, err);
    }
    return status;
}

static weir_status make_known(struct weir_redis_connection *connection,
                              const struct weir_waiter *waiter, struct weir_error *err) {
    const struct weir_redis_endpoint *endpoint = connection->endpoint;
    struct weir_secret password;
    weir_status status = weir_secret_read(endpoint->password, &password, err);
    if (status != WEIR_OK) {
        return weir_error_prefix(err, status, "the password for Redis at %s", endpoint->address);
    }
    char database[24];
    snprintf(database, sizeof database, "%" PRIu64, endpoint->database);
    struct greeting greetings[GREETINGS_MAX];
    size_t count = make_greetings(endpoint, &password, database, greetings);
    status = greet(connection, greetings, count, waiter, err);
    weir_secret_forget(&password);
    // Sent or not, it lies in the buffer.
    if (connection->unsent) {
        explicit_bzero(connection->unsent, connection->unsent_room);
    }
    return status;
}

weir_status weir_redis_connect(const struct weir_redis_endpoint *endpoint,
                               const struct weir_waiter *outer,
                               struct weir_redis_connection **ret_connection,
                               struct weir_error *err) {
    *ret_connection = NULL;
    struct weir_redis_connection *connection = calloc(1, sizeof *connection);
    if (!connection) {
        return weir_fail_no_memory(err, "a connection");
    }
    *connection = (struct weir_redis_connection){.endpoint = endpoint, .fd = -1, .pid = getpid()};
    struct weir_waiter waiter = weir_waiter_within(outer, endpoint->timeout_ns);
    connection->reader = weir_redis_reader_create();
    weir_status status = connection->reader ? reach(connection, &waiter, err)
                                            : weir_fail_no_memory(err, "a connection");
    status = status == WEIR_OK ? make_known(connection, &waiter, err) : status;
    if (status != WEIR_OK) {
        weir_redis_disconnect(connection);
        return status;
    }
    *ret_connection = connection;
    return WEIR_OK;
}

void weir_redis_disconnect(struct weir_redis_connection *connection) {
    if (!connection) {
        return;
    }
    weir_tls_end(connection->tls);
    if (connection->fd >= 0) {
        close(connection->fd);
    }
    weir_redis_reader_destroy(connection->reader);
    free(connection->unsent);
    free(connection);
}

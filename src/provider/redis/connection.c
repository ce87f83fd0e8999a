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

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
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
    struct weir_redis_tls_session *tls; // NULL: none
    struct weir_redis_reader *reader;
    short read_events, write_events; // what TLS waits for where it cannot go on
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
    weir_redis_tls_destroy(endpoint->tls);
    weir_redis_lookups_destroy(endpoint->lookups);
    *endpoint = (struct weir_redis_endpoint){0};
}

// ---- waiting ----

static weir_status wait_by_poll(void *context, int fd, short events, int64_t until_ns) {
    (void)context;
    struct pollfd one = {.fd = fd, .events = events};
    for (;;) { // ends at the moment
        int64_t left_ns = until_ns == INT64_MAX ? 0 : until_ns - weir_clock_monotonic_ns();
        struct timespec timeout = weir_clock_timespec(left_ns > 0 ? left_ns : 0);
        int ready = ppoll(&one, 1, until_ns == INT64_MAX ? NULL : &timeout, NULL);
        if (ready > 0) {
            return WEIR_OK;
        }
        if (ready == 0 || errno != EINTR) {
            return WEIR_UNAVAILABLE;
        }
    }
}

const struct weir_redis_waiter weir_redis_poll_waiter = {.wait = wait_by_poll};

static weir_status wait_for(struct weir_redis_connection *connection,
                            const struct weir_redis_waiter *waiter, short events, int64_t until_ns,
                            struct weir_error *err) {
    weir_status status = waiter->wait(waiter->context, connection->fd, events, until_ns);
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
        return weir_redis_tls_read(connection->tls, buffer, size, ret_size,
                                   &connection->read_events, err);
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
        return weir_redis_tls_write(connection->tls, bytes, size, ret_size,
                                    &connection->write_events, err);
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
    connection->read_events = POLLIN;
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
    connection->write_events = POLLOUT;
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
    return (short)(connection->read_events | (has_unsent ? connection->write_events : 0));
}

weir_status weir_redis_await(struct weir_redis_connection *connection,
                             const struct weir_redis_waiter *waiter, int64_t until_ns,
                             struct weir_redis_reply **ret_reply, struct weir_error *err) {
    *ret_reply = NULL;
    for (;;) { // ends at the moment
        weir_status status = weir_redis_send(connection, err);
        if (status == WEIR_OK) {
            status = weir_redis_receive(connection, ret_reply, err);
        }
        if (status == WEIR_AGAIN) {
            status = wait_for(connection, waiter, weir_redis_events(connection), until_ns, err);
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

static int make_socket(int family) {
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && family != AF_UNIX) {
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    }
    return fd;
}

static weir_status fail_connect(const struct weir_redis_endpoint *endpoint, int code,
                                struct weir_error *err) {
    weir_status status =
        weir_fail_errno(err, code, "cannot connect to Redis at %s", endpoint->address);
    if (status != WEIR_DENIED && status != WEIR_NO_MEMORY) {
        status = WEIR_UNAVAILABLE;
    }
    if (err) {
        err->status = status;
    }
    return status;
}

static weir_status connect_to(struct weir_redis_connection *connection,
                              const struct sockaddr *address, socklen_t size,
                              const struct weir_redis_waiter *waiter, int64_t until_ns,
                              struct weir_error *err) {
    int code = 0;
    socklen_t code_size = sizeof code;
    connection->fd = make_socket(address->sa_family);
    if (connection->fd < 0) {
        return fail_connect(connection->endpoint, errno, err);
    }
    if (connect(connection->fd, address, size) == 0) {
        return WEIR_OK;
    }
    if (errno != EINPROGRESS) { // EAGAIN: a Unix socket whose queue is full
        return fail_connect(connection->endpoint, errno, err);
    }
    weir_status status = wait_for(connection, waiter, POLLOUT, until_ns, err);
    if (status != WEIR_OK) {
        return status;
    }
    if (getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &code, &code_size) != 0) {
        code = errno;
    }
    return code == 0 ? WEIR_OK : fail_connect(connection->endpoint, code, err);
}

static void close_socket(struct weir_redis_connection *connection) {
    if (connection->fd >= 0) {
        close(connection->fd);
        connection->fd = -1;
    }
}

// Tries the addresses one after the other; each gets its share of the time that is left.
static weir_status connect_to_any(struct weir_redis_connection *connection,
                                  const struct addrinfo *addresses,
                                  const struct weir_redis_waiter *waiter, int64_t until_ns,
                                  struct weir_error *err) {
    int64_t left = 0;
    for (const struct addrinfo *each = addresses; each; each = each->ai_next) {
        left++;
    }
    weir_status status = WEIR_UNAVAILABLE;
    for (const struct addrinfo *each = addresses; each; each = each->ai_next, left--) {
        int64_t now_ns = weir_clock_monotonic_ns();
        close_socket(connection);
        status = connect_to(connection, each->ai_addr, each->ai_addrlen, waiter,
                            now_ns + (until_ns - now_ns) / left, err);
        if (status != WEIR_UNAVAILABLE && status != WEIR_DENIED) {
            break;
        }
    }
    return status;
}

static weir_status connect_socket(struct weir_redis_connection *connection,
                                  const struct weir_redis_waiter *waiter, int64_t until_ns,
                                  struct weir_error *err) {
    const struct weir_redis_endpoint *endpoint = connection->endpoint;
    if (endpoint->path) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        memcpy(address.sun_path, endpoint->path, strlen(endpoint->path) + 1);
        return connect_to(connection, (const struct sockaddr *)&address, sizeof address, waiter,
                          until_ns, err);
    }
    struct addrinfo *addresses;
    struct weir_redis_place place = {.host = endpoint->host, .port = endpoint->port};
    weir_status status =
        weir_redis_lookup(endpoint->lookups, &place, waiter, until_ns, &addresses, err);
    if (status == WEIR_OK) {
        status = connect_to_any(connection, addresses, waiter, until_ns, err);
        freeaddrinfo(addresses);
    }
    return status;
}

static weir_status begin_tls(struct weir_redis_connection *connection,
                             const struct weir_redis_waiter *waiter, int64_t until_ns,
                             struct weir_error *err) {
    const struct weir_redis_endpoint *endpoint = connection->endpoint;
    weir_status status =
        weir_redis_tls_begin(endpoint->tls, connection->fd, endpoint->host, &connection->tls, err);
    while (status == WEIR_OK) { // ends at the moment
        short events = 0;
        status = weir_redis_tls_handshake(connection->tls, &events, err);
        if (status != WEIR_AGAIN) {
            return weir_error_prefix(status == WEIR_OK ? NULL : err, status, "Redis at %s",
                                     endpoint->address);
        }
        status = wait_for(connection, waiter, events, until_ns, err);
    }
    return status;
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
                                 const struct greeting *greeting,
                                 const struct weir_redis_waiter *waiter, int64_t until_ns,
                                 struct weir_error *err) {
    struct weir_redis_reply *reply;
    weir_status status = weir_redis_await(connection, waiter, until_ns, &reply, err);
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
                         size_t count, const struct weir_redis_waiter *waiter, int64_t until_ns,
                         struct weir_error *err) {
    weir_status status = WEIR_OK;
    for (size_t i = 0; status == WEIR_OK && i < count; i++) {
        status = weir_redis_append(connection, greetings[i].words, greetings[i].count, err);
    }
    for (size_t i = 0; status == WEIR_OK && i < count; i++) {
        status = take_greeting(connection, &greetings[i], waiter, until_ns, err);
    }
    return status;
}

static weir_status make_known(struct weir_redis_connection *connection,
                              const struct weir_redis_waiter *waiter, int64_t until_ns,
                              struct weir_error *err) {
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
    status = greet(connection, greetings, count, waiter, until_ns, err);
    weir_secret_forget(&password);
    // Sent or not, it lies in the buffer.
    if (connection->unsent) {
        explicit_bzero(connection->unsent, connection->unsent_room);
    }
    return status;
}

weir_status weir_redis_connect(const struct weir_redis_endpoint *endpoint,
                               const struct weir_redis_waiter *waiter, int64_t until_ns,
                               struct weir_redis_connection **ret_connection,
                               struct weir_error *err) {
    *ret_connection = NULL;
    struct weir_redis_connection *connection = calloc(1, sizeof *connection);
    if (!connection) {
        return weir_fail_no_memory(err, "a connection");
    }
    *connection = (struct weir_redis_connection){.endpoint = endpoint,
                                                 .fd = -1,
                                                 .pid = getpid(),
                                                 .read_events = POLLIN,
                                                 .write_events = POLLOUT};
    int64_t ours_ns = weir_clock_monotonic_ns() + endpoint->timeout_ns;
    until_ns = until_ns < ours_ns ? until_ns : ours_ns;
    connection->reader = weir_redis_reader_create();
    weir_status status = connection->reader ? connect_socket(connection, waiter, until_ns, err)
                                            : weir_fail_no_memory(err, "a connection");
    if (status == WEIR_OK && endpoint->tls) {
        status = begin_tls(connection, waiter, until_ns, err);
    }
    if (status == WEIR_OK) {
        status = make_known(connection, waiter, until_ns, err);
    }
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
    weir_redis_tls_end(connection->tls);
    close_socket(connection);
    weir_redis_reader_destroy(connection->reader);
    free(connection->unsent);
    free(connection);
}

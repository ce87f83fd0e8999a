// SPDX-License-Identifier: Apache-2.0
//
// A connection to a Redis server, by TCP, TLS or a Unix socket. The socket never blocks; whoever
// has to wait does so by a waiter, with a moment at which it ends. What is to be sent is
// appended, sent as far as the socket takes it, and the replies come in the order of the commands.
//
// One thread at a time. A child of a process must not use its parent's connections.
#ifndef WEIR_PROVIDER_REDIS_CONNECTION_H
#define WEIR_PROVIDER_REDIS_CONNECTION_H

#include "base/error.h"
#include "base/str.h"
#include "provider/lookup.h"
#include "provider/redis/reply.h"
#include "provider/tls.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// What connections of a resource are made of. Constant while it is open.
struct weir_redis_endpoint {
    char *host, *port;    // owned; NULL: a Unix socket
    char *path;           // owned; the Unix socket's
    const char *address;  // as it was configured, for messages
    const char *user;     // NULL: the default one
    const char *password; // where the secret is, see secret.h; NULL: none
    const char *name;     // by which the server's operators know the connection
    uint64_t database;
    int64_t timeout_ns;           // of connecting, and of an answer
    struct weir_tls *tls;         // owned; NULL: none
    struct weir_lookups *lookups; // owned
};

// Takes "HOST:PORT", "HOST", "[IPV6]:PORT" or "/PATH" apart. WEIR_INVALID, WEIR_NO_MEMORY.
weir_status weir_redis_endpoint_parse(struct weir_redis_endpoint *endpoint, const char *address,
                                      struct weir_error *err);
void weir_redis_endpoint_finish(struct weir_redis_endpoint *endpoint);

struct weir_redis_connection;

enum { WEIR_REDIS_DEFAULT_PORT = 6379 };

// Connects, makes itself known and chooses the database, until the waiter's moment.
// WEIR_UNAVAILABLE, WEIR_DENIED, WEIR_STOPPED, ...
weir_status weir_redis_connect(const struct weir_redis_endpoint *endpoint,
                               const struct weir_waiter *waiter,
                               struct weir_redis_connection **ret_connection,
                               struct weir_error *err);
// NULL is allowed.
void weir_redis_disconnect(struct weir_redis_connection *connection);

// The id by which the server knows it.
int64_t weir_redis_connection_id(const struct weir_redis_connection *connection);
// Whether it was made by this process, and the server has not closed it and said nothing unasked.
bool weir_redis_is_fresh(const struct weir_redis_connection *connection);
// See weir_redis_reader_bound.
void weir_redis_bound(struct weir_redis_connection *connection, uint64_t reply_bytes_max);

// When something came on it last (monotonic, as of the system's last tick).
int64_t weir_redis_heard_ns(const struct weir_redis_connection *connection);

// What to poll for.
int weir_redis_fd(const struct weir_redis_connection *connection);
short weir_redis_events(const struct weir_redis_connection *connection);

// ---- without waiting. After an error but WEIR_AGAIN the connection is of no use any more.

// Appends a command. WEIR_NO_MEMORY: nothing was appended.
weir_status weir_redis_append(struct weir_redis_connection *connection,
                              const struct weir_str *words, size_t count, struct weir_error *err);
// How much was appended and not sent.
size_t weir_redis_unsent_bytes(const struct weir_redis_connection *connection);
// Sends what the socket takes. WEIR_OK also where something is left.
weir_status weir_redis_send(struct weir_redis_connection *connection, struct weir_error *err);
// The next reply, which the caller frees. WEIR_AGAIN: there is none yet.
weir_status weir_redis_receive(struct weir_redis_connection *connection,
                               struct weir_redis_reply **ret_reply, struct weir_error *err);

// ---- with waiting, until the waiter's moment.

// Sends all that was appended, and waits for the next reply.
weir_status weir_redis_await(struct weir_redis_connection *connection,
                             const struct weir_waiter *waiter, struct weir_redis_reply **ret_reply,
                             struct weir_error *err);

#endif

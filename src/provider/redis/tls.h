// SPDX-License-Identifier: Apache-2.0
//
// TLS on a socket that does not block, by libssl. The settings are made once for a resource, and
// may be used by any thread; a session belongs to its connection.
#ifndef WEIR_PROVIDER_REDIS_TLS_H
#define WEIR_PROVIDER_REDIS_TLS_H

#include "base/error.h"

#include <stddef.h>

struct weir_redis_tls;
struct weir_redis_tls_session;

// NULL members: the system's authorities; no certificate of our own.
struct weir_redis_tls_files {
    const char *ca;         // PEM; who may vouch for the server
    const char *cert, *key; // PEM; how the server knows us, both or none
};

// Reads the files. WEIR_INVALID, WEIR_NO_MEMORY.
weir_status weir_redis_tls_create(const struct weir_redis_tls_files *files,
                                  struct weir_redis_tls **ret_tls, struct weir_error *err);
void weir_redis_tls_destroy(struct weir_redis_tls *tls);

// A session on a connected socket, with a server that has to show a certificate for this host (a
// name or an address). The socket stays the caller's.
weir_status weir_redis_tls_begin(struct weir_redis_tls *tls, int fd, const char *host,
                                 struct weir_redis_tls_session **ret_session,
                                 struct weir_error *err);
void weir_redis_tls_end(struct weir_redis_tls_session *session);

// These three do what can be done without waiting. WEIR_AGAIN: wait for *ret_events (of poll(2)),
// and call it again.
weir_status weir_redis_tls_handshake(struct weir_redis_tls_session *session, short *ret_events,
                                     struct weir_error *err);
// *ret_size 0: the other side has closed.
weir_status weir_redis_tls_read(struct weir_redis_tls_session *session, char *buffer, size_t size,
                                size_t *ret_size, short *ret_events, struct weir_error *err);
weir_status weir_redis_tls_write(struct weir_redis_tls_session *session, const char *bytes,
                                 size_t size, size_t *ret_size, short *ret_events,
                                 struct weir_error *err);

#endif

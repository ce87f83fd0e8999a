// SPDX-License-Identifier: Apache-2.0
//
// TLS on a connected socket that does not block, by libssl. The server's certificate is verified,
// and its name.
#ifndef WEIR_PROVIDER_TLS_H
#define WEIR_PROVIDER_TLS_H

#include "base/error.h"
#include "provider/wait.h"

#include <stdbool.h>
#include <stddef.h>

// Files in PEM. NULL members: the system's authorities; no certificate of our own.
struct weir_tls_files {
    const char *ca;         // who may vouch for the server
    const char *cert, *key; // how the server knows us, both or none
};

// What the connections of a resource have in common. The files are read when they are needed first,
// and again where they have changed when a connection is made: a certificate that was renewed is
// used by the next one. Any thread.
struct weir_tls;

// Reads nothing yet. The files' names must outlive it. NULL without memory.
struct weir_tls *weir_tls_create(const struct weir_tls_files *files);
// Every session must have ended. NULL is allowed.
void weir_tls_destroy(struct weir_tls *tls);
// Whether the files can be used. WEIR_INVALID, WEIR_NO_MEMORY.
weir_status weir_tls_check(struct weir_tls *tls, struct weir_error *err);

// A connection's side of it. One thread at a time.
struct weir_tls_session;

struct weir_tls_args {
    int fd;           // stays the caller's; it must be open until weir_tls_end
    const char *host; // a name or an address that the server must show a certificate for
};

// Makes it, and waits until both sides have agreed. WEIR_DENIED: the certificate is not accepted;
// WEIR_UNAVAILABLE: they have not agreed, or not until the waiter's moment; WEIR_STOPPED: the
// waiter's; WEIR_INVALID: a file; WEIR_NO_MEMORY.
weir_status weir_tls_begin(struct weir_tls *tls, const struct weir_tls_args *args,
                           const struct weir_waiter *waiter, struct weir_tls_session **ret_session,
                           struct weir_error *err);
// Says nothing to the server. NULL is allowed.
void weir_tls_end(struct weir_tls_session *session);

// These two do what can be done without waiting. WEIR_AGAIN: wait for weir_tls_events, and call it
// again; writing then with the same bytes, from wherever they lie now, and maybe more behind them.
// *ret_size 0: the other side has closed.
weir_status weir_tls_read(struct weir_tls_session *session, char *buffer, size_t size,
                          size_t *ret_size, struct weir_error *err);
enum { WEIR_TLS_READ_BYTES = 16 << 10 }; // a buffer of that leaves nothing behind but in the socket
weir_status weir_tls_write(struct weir_tls_session *session, const char *bytes, size_t size,
                           size_t *ret_size, struct weir_error *err);

// What to poll for, by what the last calls wanted.
short weir_tls_events(const struct weir_tls_session *session, bool has_unsent);

#endif

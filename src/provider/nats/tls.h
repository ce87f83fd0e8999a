// SPDX-License-Identifier: Apache-2.0
//
// TLS of a connection, apart from its socket: bytes go in and come out, so that nothing in here
// waits, and one thread does it all. The server's certificate is verified, and its name. One thread
// at a time.
#ifndef WEIR_PROVIDER_NATS_TLS_H
#define WEIR_PROVIDER_NATS_TLS_H

#include "base/error.h"
#include "provider/nats/buffer.h"

#include <stdbool.h>

struct weir_nats_tls;

struct weir_nats_tls_args {
    const char *host;              // whose certificate it must be
    const char *ca;                // a path; NULL: the system's certificates
    const char *certificate, *key; // paths; NULL: none
};

// WEIR_INVALID: a file is not what it should be; WEIR_NO_MEMORY.
weir_status weir_nats_tls_create(const struct weir_nats_tls_args *args,
                                 struct weir_nats_tls **ret_tls, struct weir_error *err);
void weir_nats_tls_destroy(struct weir_nats_tls *tls);

// Goes on with the handshake with what has come. WEIR_AGAIN: it wants more from the server, once
// what it has to send is sent.
weir_status weir_nats_tls_shake(struct weir_nats_tls *tls, struct weir_error *err);
// What came from the socket.
weir_status weir_nats_tls_feed(struct weir_nats_tls *tls, struct weir_str bytes,
                               struct weir_error *err);
// Moves what was in it to the end of `plain`. WEIR_UNAVAILABLE: the server has ended it.
weir_status weir_nats_tls_open(struct weir_nats_tls *tls, struct weir_nats_buffer *plain,
                               struct weir_error *err);
// Takes all of `plain`, and moves what is to be sent to the end of `sealed`.
weir_status weir_nats_tls_seal(struct weir_nats_tls *tls, struct weir_nats_buffer *plain,
                               struct weir_nats_buffer *sealed, struct weir_error *err);

#endif

// SPDX-License-Identifier: Apache-2.0
//
// What a user may set of a resource of NATS, and what follows from it. Pure functions, any thread.
#ifndef WEIR_PROVIDER_NATS_OPTIONS_H
#define WEIR_PROVIDER_NATS_OPTIONS_H

#include "config/option.h"

#include <stdbool.h>
#include <stdint.h>

enum weir_nats_mode {
    WEIR_NATS_AUTO, // as the other options say
    WEIR_NATS_KV,
    WEIR_NATS_STREAM,
    WEIR_NATS_SUBJECT,
};

struct weir_nats_options {
    char *server;
    int mode; // enum weir_nats_mode; never WEIR_NATS_AUTO once weir_nats_options_check has passed
    char *bucket, *stream, *prefix;
    // Who connects; each NULL where it is not given.
    char *user;
    char *password, *token, *nkey; // where the secrets are
    char *credentials;             // a path
    bool tls;
    char *tls_ca, *tls_certificate, *tls_key; // paths
    bool create;
    uint64_t history, replicas, max_bytes;
    char *domain, *inbox;
    int64_t ack_wait_ns;
    uint64_t max_ack_pending;
    int64_t timeout_ns;
    uint64_t connections, keys_max;
};

enum { WEIR_NATS_OPTIONS = 25 };
extern const struct weir_option weir_nats_option_rows[WEIR_NATS_OPTIONS];
extern const struct weir_option_table weir_nats_option_table;

// Whether the options go together; fills in the mode, and a bucket that stands behind the server.
// WEIR_INVALID, WEIR_NO_MEMORY.
weir_status weir_nats_options_check(struct weir_nats_options *options, struct weir_error *err);
// A copy of its own, which weir_options_finish frees. WEIR_NO_MEMORY.
weir_status weir_nats_options_copy(const struct weir_nats_options *options,
                                   struct weir_nats_options *ret_copy, struct weir_error *err);

enum { WEIR_NATS_SERVERS_MAX = 16, WEIR_NATS_HOST_BYTES = 256, WEIR_NATS_PORT_BYTES = 6 };

struct weir_nats_server {
    char host[WEIR_NATS_HOST_BYTES]; // without the brackets of an IPv6 address
    char port[WEIR_NATS_PORT_BYTES];
};

struct weir_nats_servers {
    struct weir_nats_server items[WEIR_NATS_SERVERS_MAX];
    size_t count;
    bool wants_tls; // one of them is written tls://
};

// "HOST:PORT,HOST:PORT ...", each perhaps behind nats://, tls:// or //; without a port it is 4222.
// No user or password may stand in it. WEIR_INVALID.
weir_status weir_nats_servers_parse(struct weir_str text, struct weir_nats_servers *ret_servers,
                                    struct weir_error *err);

#endif

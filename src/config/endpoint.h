// SPDX-License-Identifier: Apache-2.0
//
// Addresses that weir listens at. Any thread.
#ifndef WEIR_CONFIG_ENDPOINT_H
#define WEIR_CONFIG_ENDPOINT_H

#include "base/error.h"

#include <stdbool.h>
#include <sys/socket.h>

// An IP address and a port, as "127.0.0.1:9464" or "[::1]:9464".
struct weir_endpoint {
    struct sockaddr_storage address;
    socklen_t size;
    bool is_loopback; // nobody but this machine can reach it
};
// WEIR_INVALID, with what would be right.
weir_status weir_endpoint_parse(const char *text, struct weir_endpoint *ret_endpoint,
                                struct weir_error *err);

#endif

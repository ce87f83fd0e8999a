// SPDX-License-Identifier: Apache-2.0
//
// See endpoint.h. Numbers only: a name may lead to several addresses, and to others tomorrow, and
// whether it is of this machine alone would not be known.
#include "config/endpoint.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PORT_MAX = 65535, ADDRESS_BYTES = INET6_ADDRSTRLEN + 2 };

static bool read_port(const char *text, uint16_t *ret_port) {
    char *end;
    unsigned long port = text[0] >= '0' && text[0] <= '9' ? strtoul(text, &end, 10) : 0;
    if (port == 0 || port > PORT_MAX || *end != '\0') {
        return false;
    }
    *ret_port = (uint16_t)port;
    return true;
}

static bool read_v4(const char *text, uint16_t port, struct weir_endpoint *endpoint) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (inet_pton(AF_INET, text, &address.sin_addr) != 1) {
        return false;
    }
    memcpy(&endpoint->address, &address, sizeof address);
    endpoint->size = sizeof address;
    endpoint->is_loopback = ntohl(address.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    return true;
}

static bool read_v6(const char *text, uint16_t port, struct weir_endpoint *endpoint) {
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    if (inet_pton(AF_INET6, text, &address.sin6_addr) != 1) {
        return false;
    }
    memcpy(&endpoint->address, &address, sizeof address);
    endpoint->size = sizeof address;
    endpoint->is_loopback = IN6_IS_ADDR_LOOPBACK(&address.sin6_addr);
    return true;
}

weir_status weir_endpoint_parse(const char *text, struct weir_endpoint *ret_endpoint,
                                struct weir_error *err) {
    *ret_endpoint = (struct weir_endpoint){0};
    const char *colon = strrchr(text, ':');
    size_t size = colon ? (size_t)(colon - text) : 0;
    bool is_bracketed = size > 2 && text[0] == '[' && text[size - 1] == ']';
    char address[ADDRESS_BYTES];
    uint16_t port;
    if (colon && size < sizeof address && read_port(colon + 1, &port)) {
        snprintf(address, sizeof address, "%.*s", (int)(is_bracketed ? size - 2 : size),
                 is_bracketed ? text + 1 : text);
        if (is_bracketed ? read_v6(address, port, ret_endpoint)
                         : read_v4(address, port, ret_endpoint)) {
            return WEIR_OK;
        }
    }
    return weir_fail(err, WEIR_INVALID,
                     "this is no address with a port; write IP:PORT, as 127.0.0.1:9464 or "
                     "[::1]:9464");
}

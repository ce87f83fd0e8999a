// SPDX-License-Identifier: Apache-2.0
//
// Where a database is, as the option `address` says it:
//
//   HOST[:PORT][/DATABASE]            [::1]:5432/shop
//   postgres[ql]://[USER@]HOST[:PORT][/DATABASE]
//   /DIRECTORY[:PORT]                 of the server's Unix socket; the database is an option
//
// A password in it is refused: it would be shown wherever the configuration is. Pure functions, any
// thread.
#ifndef WEIR_PROVIDER_POSTGRES_ADDRESS_H
#define WEIR_PROVIDER_POSTGRES_ADDRESS_H

#include "base/error.h"

#include <stdbool.h>

enum {
    WEIR_PG_HOST_BYTES = 256,
    WEIR_PG_PORT_BYTES = 8,
    WEIR_PG_NAME_BYTES = 64, // of anything that has a name in PostgreSQL, and its terminator
};

struct weir_pg_address {
    char host[WEIR_PG_HOST_BYTES]; // a name, an IP address without brackets, or a directory
    char port[WEIR_PG_PORT_BYTES];
    char user[WEIR_PG_NAME_BYTES];     // empty: not said
    char database[WEIR_PG_NAME_BYTES]; // empty: not said
};

// WEIR_INVALID.
weir_status weir_pg_address_parse(const char *text, struct weir_pg_address *ret_address,
                                  struct weir_error *err);

// Whether the host is this machine: a directory, localhost, or an address of the loopback.
bool weir_pg_address_is_local(const struct weir_pg_address *address);
// Whether the host must be looked up.
bool weir_pg_address_is_name(const struct weir_pg_address *address);

#endif

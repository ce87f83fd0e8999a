// SPDX-License-Identifier: Apache-2.0
//
// The provider of kind "postgres": tables of a PostgreSQL database, told by logical replication, or
// one of them as a key-value store.
#ifndef WEIR_PROVIDER_POSTGRES_POSTGRES_H
#define WEIR_PROVIDER_POSTGRES_POSTGRES_H

#include "provider/provider.h"

extern const struct weir_provider weir_postgres_provider;

#endif

// SPDX-License-Identifier: Apache-2.0
//
// The provider of SQLite databases: rows of tables, or a table that is a key-value store. Any
// thread.
#ifndef WEIR_PROVIDER_SQLITE_SQLITE_H
#define WEIR_PROVIDER_SQLITE_SQLITE_H

#include "provider/provider.h"

extern const struct weir_provider weir_sqlite_provider;

#endif

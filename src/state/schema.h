// SPDX-License-Identifier: Apache-2.0
//
// The tables, and their versions. Private to src/state/.
#ifndef WEIR_STATE_SCHEMA_H
#define WEIR_STATE_SCHEMA_H

#include "state/connection.h"

// "weir" in the file's header, which file(1) and sqlite3 show.
#define WEIR_STATE_APPLICATION_ID INT64_C(0x77656972)

// What the file's header says. WEIR_OTHER: it is not weir's, or of a newer weir. 0: it is empty.
weir_status weir_schema_read(struct weir_connection *connection, int *ret_version,
                             struct weir_error *err);
// In a transaction of the caller's: brings the file from `version` to WEIR_STATE_SCHEMA_VERSION.
weir_status weir_schema_migrate(struct weir_connection *connection, int version,
                                struct weir_error *err);
// The statements' SQL.
extern const char *const weir_schema_sql[WEIR_SQL_COUNT];
// All rows of a table.
extern const char *const weir_schema_rows_sql[WEIR_TABLE_COUNT];

#endif

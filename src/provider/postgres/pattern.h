// SPDX-License-Identifier: Apache-2.0
//
// What a watch of a pattern is of: which table, and which of its keys. Pure functions, any thread.
#ifndef WEIR_PROVIDER_POSTGRES_PATTERN_H
#define WEIR_PROVIDER_POSTGRES_PATTERN_H

#include "provider/postgres/resource.h"

struct weir_pg_watch;

// Checks one of rows. WEIR_INVALID.
weir_status weir_pg_pattern_check(const struct weir_pattern *pattern, struct weir_error *err);

// Its table, and its text as the table's keys are written; the caller frees ret_key_text->data.
weir_status weir_pg_pattern_read(const struct weir_pg_resource *resource,
                                 const struct weir_pattern *pattern,
                                 struct weir_pg_table_name *ret_name, struct weir_str *ret_key_text,
                                 struct weir_error *err);

// The patterns by which the keys of its table find the watch. Returns how many; views of the
// watch's own.
size_t weir_pg_pattern_routes(const struct weir_pg_watch *watch,
                              struct weir_pattern ret_patterns[static 2]);

#endif

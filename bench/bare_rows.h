// SPDX-License-Identifier: Apache-2.0
//
// The floor of the journal: the rows that weir wrote, put into an SQLite file of the same schema by
// a loop that does nothing else. The rows are in memory, sums and all, before the clock starts.
#ifndef WEIR_BENCH_BARE_ROWS_H
#define WEIR_BENCH_BARE_ROWS_H

#include <stddef.h>
#include <stdint.h>

struct bare_rows;

// Reads the journal of a state database that nobody has open.
struct bare_rows *bare_rows_read(const char *database);
void bare_rows_free(struct bare_rows *rows);
size_t bare_rows_count(const struct bare_rows *rows);

// Writes them into a new file, with a WAL and synchronous=FULL, `group` of them in a transaction.
// Returns how long that took.
int64_t bare_rows_write(const struct bare_rows *rows, const char *file, size_t group);

#endif

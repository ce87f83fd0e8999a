// SPDX-License-Identifier: Apache-2.0
//
// Private to `weir dlq`: what its files share.
#ifndef WEIR_CLI_DLQ_H
#define WEIR_CLI_DLQ_H

#include "cli/command.h"
#include "state/state.h"

#include <stdint.h>

enum { WEIR_DLQ_PAGE = 256 }; // letters in memory, and in one transaction

struct weir_dlq {
    const struct weir_cli *cli;
    const char *action; // "retry"
    const char *dir;
    const uint64_t *ids; // as given; NULL: all
    size_t id_count;
    const char *subscription; // of --all and ls; NULL: every one
    bool is_json;
    struct weir_state *state; // read
};

// The letters that are meant, of one page: those of up to WEIR_DLQ_PAGE rows or ids.
struct weir_dlq_cursor {
    size_t id_at;   // the next of the ids
    uint64_t after; // the last row that was looked at
    bool is_over;
    size_t missing; // ids of which there is no letter; each was told
};
weir_status weir_dlq_page(const struct weir_dlq *dlq, struct weir_dlq_cursor *cursor,
                          bool (*each)(void *context, const struct weir_dead_letter *letter),
                          void *context, struct weir_error *err);

// The actions; each returns an exit status.
int weir_dlq_ls(const struct weir_dlq *dlq);
int weir_dlq_show(const struct weir_dlq *dlq);
int weir_dlq_retry(const struct weir_dlq *dlq);
int weir_dlq_rm(const struct weir_dlq *dlq);

#endif

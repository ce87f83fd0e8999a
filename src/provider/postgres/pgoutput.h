// SPDX-License-Identifier: Apache-2.0
//
// What a replication connection sends: the frames of streaming replication, and in them the
// messages of the output plugin pgoutput, protocol version 1. A reader of bytes that somebody else
// wrote: it takes nothing for granted, and what it returns are views of them. Pure functions, any
// thread.
#ifndef WEIR_PROVIDER_POSTGRES_PGOUTPUT_H
#define WEIR_PROVIDER_POSTGRES_PGOUTPUT_H

#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WEIR_PG_COLUMNS_MAX = 1664 }; // of a table or a result, PostgreSQL's own bound

// ---- frames ----

enum weir_pg_frame_kind { WEIR_PG_FRAME_DATA, WEIR_PG_FRAME_KEEPALIVE };

struct weir_pg_frame {
    enum weir_pg_frame_kind kind;
    uint64_t start_lsn; // of data: where the record of the change begins
    uint64_t end_lsn;   // of a keepalive: everything before it was sent
    bool wants_reply;
    struct weir_str message;
};

weir_status weir_pg_frame_read(struct weir_str bytes, struct weir_pg_frame *ret_frame,
                               struct weir_error *err);

enum { WEIR_PG_STATUS_BYTES = 34 };
// What tells the server that everything before flushed_lsn needs not be sent again. `now_us`: since
// 2000.
void weir_pg_status_write(uint64_t flushed_lsn, uint64_t written_lsn, int64_t now_us,
                          bool wants_reply, char ret_bytes[static WEIR_PG_STATUS_BYTES]);

// ---- messages ----

enum weir_pg_message_kind {
    WEIR_PG_BEGIN,
    WEIR_PG_COMMIT,
    WEIR_PG_RELATION,
    WEIR_PG_INSERT,
    WEIR_PG_UPDATE,
    WEIR_PG_DELETE,
    WEIR_PG_TRUNCATE,
    WEIR_PG_MESSAGE, // that somebody wrote by pg_logical_emit_message
    WEIR_PG_OTHER,   // an origin, a type: of no concern here
};

enum weir_pg_cell_kind {
    WEIR_PG_CELL_NULL = 'n',
    WEIR_PG_CELL_UNCHANGED = 'u', // a value that is stored apart, and was not written
    WEIR_PG_CELL_TEXT = 't',
};

struct weir_pg_cell {
    enum weir_pg_cell_kind kind;
    struct weir_str text;
};

struct weir_pg_tuple {
    size_t count;
    struct weir_pg_cell cells[WEIR_PG_COLUMNS_MAX];
};

struct weir_pg_column {
    struct weir_str name;
    uint32_t type; // its OID
    bool is_identity;
};

// Of a relation as it is from now on.
struct weir_pg_relation_message {
    uint32_t id;
    struct weir_str schema, name;
    char identity; // 'd' the primary key, 'n' nothing, 'f' the whole row, 'i' an index
    size_t count;
    struct weir_pg_column columns[WEIR_PG_COLUMNS_MAX];
};

enum weir_pg_old { WEIR_PG_OLD_NONE, WEIR_PG_OLD_KEY, WEIR_PG_OLD_ROW };

// Large: about 170 KiB. One is made, and read into again and again.
struct weir_pg_message {
    enum weir_pg_message_kind kind;
    // Of a begin and a commit.
    uint64_t commit_lsn, end_lsn; // end_lsn: of a commit only
    int64_t time_us;              // since 2000
    uint32_t xid;
    // Of a change.
    uint32_t relation;
    enum weir_pg_old old_kind;
    struct weir_pg_tuple old_tuple, new_tuple;
    // Of a truncation: relation n is weir_pg_truncated(message, n).
    size_t truncated_count;
    const char *truncated;
    struct weir_pg_relation_message relation_message;
    // Of a message.
    bool is_transactional;
    struct weir_str prefix, content;
};

weir_status weir_pg_message_read(struct weir_str bytes, struct weir_pg_message *ret_message,
                                 struct weir_error *err);
uint32_t weir_pg_truncated(const struct weir_pg_message *message, size_t index);

#endif

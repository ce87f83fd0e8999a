// SPDX-License-Identifier: Apache-2.0
//
// What the parts of the watcher share: its connection, its watches, and where each is in the log.
// Everything is the hub's thread's, but what it says of struct weir_sqlite_consumers. Private to
// this folder.
//
// A watch is level or behind. Those that are level have been told everything up to the head; a row
// of the log that is read there is offered to them. One that finds no room, that goes on after a
// stop, or whose history has a gap is behind: it has a place of its own, and the log is read for
// it, and for all that are behind, from the hindmost place on, until it is level again. Nothing of
// the log is kept in memory for anybody.
#ifndef WEIR_PROVIDER_SQLITE_WATCHER_H
#define WEIR_PROVIDER_SQLITE_WATCHER_H

#include "base/table.h"
#include "provider/hub.h"
#include "provider/routes.h"
#include "provider/sqlite/install.h"
#include "provider/sqlite/record.h"
#include "provider/sqlite/resource.h"
#include "provider/sqlite/wake.h"

enum {
    WEIR_SQLITE_ROWS_AT_ONCE = 256, // of the log, or of a table, before other things are looked at
    WEIR_SQLITE_MOVED_MS = 1000,    // how often to look whether the file is still there
    WEIR_SQLITE_PAUSE_NS_MIN = 200000, // before it is looked again, behind a write
    WEIR_SQLITE_ROUTES = 2,            // that a watch has: of a table's rows, and of the table
};

// History that a watch will not be told. Of one table, or (NULL) of all that it watches.
struct weir_sqlite_gap {
    struct weir_sqlite_place from;
    char reason[WEIR_SQLITE_REASON_BYTES];
    char *table;
};

// Telling what is there. See struct weir_sqlite_rest.
struct weir_sqlite_snapshot {
    enum weir_sqlite_rest_kind kind;
    bool is_of_one; // of this table alone
    char *table;    // NULL: from the first table on
    bool is_stable; // rowids of the table stay what they are
    int64_t row;
    sqlite3_value **values; // of the primary key of the row that was told last, without a rowid
    size_t value_count;
    size_t key_size;
    char key[WEIR_KEY_BYTES_MAX];
    // How far it is with the table at hand, for people.
    bool is_metered;
    int64_t from_row, last_row; // rowids that it goes on behind, and up to
    uint64_t told;
};

struct weir_sqlite_consumer;
struct weir_sqlite_selector;

struct weir_sqlite_watch {
    struct weir_hub_watch hub; // first
    struct weir_route routes[WEIR_SQLITE_ROUTES];
    struct weir_sqlite_selector *selector;               // of its tables
    struct weir_sqlite_watch *prev, *next;               // among all
    struct weir_sqlite_watch *prev_behind, *next_behind; // among those that are behind
    bool is_stopped;                                     // its sink wants nothing any more
    bool is_behind;
    bool is_new;     // it begins just now, and has no place yet
    bool is_located; // `at` has been found in the log of this connection
    bool has_place;  // else it goes on from a position that was not understood
    unsigned char identity[WEIR_SQLITE_IDENTITY_BYTES]; // of the log that `at` is in
    struct weir_sqlite_place at;                        // what was told last, at least
    int64_t told_seq, acknowledged_seq;
    struct weir_sqlite_gap *gap;           // to be told, before anything else; NULL: none
    struct weir_sqlite_snapshot *snapshot; // under way; NULL: none
    struct weir_sqlite_consumer *consumer; // NULL: it has no name
};

// Tables that are wanted: one, or all whose names begin so. By watches with different patterns.
struct weir_sqlite_selector {
    UT_hash_handle hh; // by `text`, with a letter for the kind in front
    size_t uses;
    // The version of the schema for which its tables were seen to, as far as that can be; and for
    // which all of them are known to be followed.
    int64_t swept_version, checked_version;
    size_t size;
    char text[];
};

// How far a watch with a name has come, as the database is to know it.
struct weir_sqlite_consumer {
    UT_hash_handle hh;               // by name
    struct weir_sqlite_watch *watch; // NULL: it has ended
    int64_t seq;
    bool is_dirty;
    char name[];
};

struct weir_sqlite_watcher {
    struct weir_sqlite_resource *resource;
    char *source; // of events
    struct weir_sqlite_reader reader;
    struct weir_routes *routes;
    struct weir_sqlite_selector *selectors; // table
    bool has_unswept;                       // selectors whose tables were not seen to yet
    struct weir_sqlite_watch *watches, *behind;
    size_t level_count;

    // The connection. NULL: there is none.
    struct weir_sqlite_db *db;
    struct weir_sqlite_wake wake;
    sqlite3_stmt *scan, *data_version_query, *schema_version_query;
    int64_t data_version, schema_version;
    unsigned char identity[WEIR_SQLITE_IDENTITY_BYTES];
    struct weir_sqlite_place head; // of the watches that are level
    bool has_unlocated;            // watches whose place is to be found
    bool has_news;                 // there may be rows behind the head
    int64_t connect_ns;            // when to try to connect
    int64_t look_ns, pause_ns;     // when to look for news, and how long after that again
    int64_t moved_ns;              // when to look whether the file is still there
    int64_t idle_ns;               // when to close it; 0: there are watches
    int64_t busy_since_ns;         // it has been locked since then; 0: it is not

    // consume.c
    struct weir_sqlite_consumer *consumers; // table
    bool has_dirty;
    int64_t flush_ns, prune_ns;
};

static inline struct weir_sqlite_watch *weir_sqlite_watch_of(struct weir_hub_watch *watch) {
    return (struct weir_sqlite_watch *)watch;
}

// ---- pattern.c

// The table that a pattern names in front of its '/'; without one, the whole text, which is only
// the beginning of a name where the pattern is a prefix (*ret_is_whole false).
struct weir_str weir_sqlite_pattern_table(const struct weir_pattern *pattern, bool *ret_is_whole);
// Puts a watch where its rows and its tables are found; takes it out again. WEIR_NO_MEMORY.
weir_status weir_sqlite_enlist(struct weir_sqlite_watcher *watcher, struct weir_sqlite_watch *watch,
                               struct weir_error *err);
void weir_sqlite_delist(struct weir_sqlite_watcher *watcher, struct weir_sqlite_watch *watch);
// The tables of all selectors were seen to.
void weir_sqlite_note_swept(struct weir_sqlite_watcher *watcher);
// Whether some watch wants the table; of a resource of rows. The context is the watcher.
bool weir_sqlite_is_wanted(void *context, struct weir_str table);

// ---- place.c

// Puts a watch behind, or level. `at` is right already.
void weir_sqlite_fall_behind(struct weir_sqlite_watcher *watcher, struct weir_sqlite_watch *watch);
void weir_sqlite_join(struct weir_sqlite_watcher *watcher, struct weir_sqlite_watch *watch);
// Notes a gap, behind which what is there is told: the watch goes on behind `to`. `table` NULL: of
// everything. Without memory nothing is noted: the same is found again.
weir_status weir_sqlite_note_gap(struct weir_sqlite_watcher *watcher,
                                 struct weir_sqlite_watch *watch, const char *table,
                                 struct weir_sqlite_place to, struct weir_str reason);
// Every watch has to be found anew.
void weir_sqlite_lose_places(struct weir_sqlite_watcher *watcher);
// Finds those that have to be, in one reading.
weir_status weir_sqlite_locate_all(struct weir_sqlite_watcher *watcher, struct weir_error *err);

// ---- connect.c

// Opens the file and finds everybody's place, until the moment.
weir_status weir_sqlite_connect(struct weir_sqlite_watcher *watcher, int64_t until_ns,
                                struct weir_error *err);
void weir_sqlite_disconnect(struct weir_sqlite_watcher *watcher);
// Sees to it that what is watched is followed. Costs nothing where neither the schema nor what is
// watched has changed. Tables that cannot be are said in the log, and do not keep the others from
// it; but `due`, a watch that begins (may be NULL), is refused where one is among its own.
weir_status weir_sqlite_follow(struct weir_sqlite_watcher *watcher, struct weir_sqlite_watch *due,
                               struct weir_error *err);
// A number that is another one when others have committed something.
weir_status weir_sqlite_read_version(struct weir_sqlite_watcher *watcher, int64_t *ret_version,
                                     struct weir_error *err);

// ---- tell.c

// Reads a bounded part of the log behind the head, and offers it to the watches that are level.
// *ret_has_more: there is more. WEIR_AGAIN: the log is not what it was; every watch is to be
// located anew.
weir_status weir_sqlite_tell_level(struct weir_sqlite_watcher *watcher, bool *ret_has_more,
                                   struct weir_error *err);
// The same for those that are behind. *ret_has_more: something may be done at once.
weir_status weir_sqlite_tell_behind(struct weir_sqlite_watcher *watcher, bool *ret_has_more,
                                    struct weir_error *err);
// Reads for one watch alone, from its place on; *ret_is_level: it was told everything there is.
// Inside of a transaction of the caller's.
weir_status weir_sqlite_tell_one(struct weir_sqlite_watcher *watcher,
                                 struct weir_sqlite_watch *watch, bool *ret_is_level,
                                 struct weir_error *err);
// A position of this connection's log; `rest` NULL: nothing is left to be told beside it. Returns
// its size.
size_t weir_sqlite_write_position(const struct weir_sqlite_watcher *watcher,
                                  struct weir_sqlite_place place,
                                  const struct weir_sqlite_rest *rest,
                                  char buffer[static WEIR_POSITION_BYTES_MAX]);
// Offers an event and keeps account of it. As weir_hub_offer.
weir_status weir_sqlite_offer(struct weir_sqlite_watch *watch, struct weir_event *event,
                              int64_t seq);
// Logs that something could not be told.
void weir_sqlite_log_untold(const struct weir_sqlite_watcher *watcher, struct weir_str key,
                            const struct weir_error *cause);

// ---- snapshot.c

// Tells a gap, or a part of what is there. *ret_has_more: something may be done at once.
weir_status weir_sqlite_snapshot_step(struct weir_sqlite_watcher *watcher,
                                      struct weir_sqlite_watch *watch, bool *ret_has_more,
                                      struct weir_error *err);
// Begins one; of a table alone, or (NULL) of all. One that is under way begins again with all.
weir_status weir_sqlite_snapshot_begin(struct weir_sqlite_watch *watch, const char *table,
                                       struct weir_error *err);
// Goes on where a position says.
weir_status weir_sqlite_snapshot_resume(struct weir_sqlite_watch *watch,
                                        const struct weir_sqlite_rest *rest,
                                        struct weir_error *err);
// The tables may have been rewritten: what is under way of one begins again.
void weir_sqlite_snapshot_restart(struct weir_sqlite_watch *watch);
// What is left of it; views of the snapshot.
struct weir_sqlite_rest weir_sqlite_snapshot_rest(const struct weir_sqlite_snapshot *snapshot);
void weir_sqlite_snapshot_free(struct weir_sqlite_snapshot *snapshot);
void weir_sqlite_gap_free(struct weir_sqlite_watch *watch);

// ---- consume.c

// Makes the watch's consumer, or finds it. WEIR_NO_MEMORY.
weir_status weir_sqlite_consumer_join(struct weir_sqlite_watcher *watcher,
                                      struct weir_sqlite_watch *watch, struct weir_error *err);
void weir_sqlite_consumer_leave(struct weir_sqlite_watcher *watcher,
                                struct weir_sqlite_watch *watch);
// It starts at its place.
void weir_sqlite_consumer_start(struct weir_sqlite_watcher *watcher,
                                struct weir_sqlite_watch *watch);
void weir_sqlite_consumer_acknowledge(struct weir_sqlite_watcher *watcher,
                                      struct weir_sqlite_watch *watch, int64_t seq);
// What the database knows of it; 0: nothing.
weir_status weir_sqlite_consumer_find(struct weir_sqlite_watcher *watcher, const char *name,
                                      int64_t *ret_seq, struct weir_error *err);
// Writes and prunes what is due. Returns the moment of the next; does nothing while others write.
int64_t weir_sqlite_consume(struct weir_sqlite_watcher *watcher, int64_t now_ns);
// Writes what is left; the connection may wait until the moment.
void weir_sqlite_consume_rest(struct weir_sqlite_watcher *watcher, int64_t until_ns);
void weir_sqlite_consumers_free(struct weir_sqlite_watcher *watcher);

#endif

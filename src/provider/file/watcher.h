// SPDX-License-Identifier: Apache-2.0
//
// The watcher of a resource: one thread, one inotify descriptor, any number of watches. This header
// is for its three parts alone: watch.c, tree.c and reconcile.c.
//
// What inotify says is a hint, nothing more: "this key may have changed", "this directory may have
// changed". A hint leads to a comparison of what is there now with what a watch was last told
// (struct entry), and what differs is offered to its sink. A lost, doubled or late hint therefore
// does no harm as long as another one comes, and a rescan is nothing but a hint for every key. That
// is why there is no other path: an overflow, a directory that was moved, a sink that had no room
// and a file that could not be read all come back to the same comparison.
//
// Threads. Everything here belongs to the watcher's thread, except where a member says otherwise;
// nothing of it is called or read from elsewhere. The members under `lock` are how other threads
// hand over requests.
#ifndef WEIR_PROVIDER_FILE_WATCHER_H
#define WEIR_PROVIDER_FILE_WATCHER_H

#include "base/table.h"
#include "observe/log.h"
#include "provider/file/access.h"
#include "provider/file/chain.h"
#include "provider/file/fingerprint.h"
#include "provider/file/key.h"
#include "provider/file/resource.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <utlist.h>
#include <xxhash.h>

struct watch;
struct directory;

// Whether an entry waits to be compared again, and for what.
enum entry_queue {
    NOT_QUEUED,
    DIRTY,   // its turn comes with the next slice, or with the sink's resume
    DELAYED, // it failed, or its writer is at work: when its time has come
};

// How long keys may be delayed: each level is twice as long as the one before, and has a list of
// its own, which so is in the order of time.
enum { DELAY_LEVELS = 16 };

// What one watch knows of one key: what its sink was told last, or what was there when the watch
// began.
struct entry {
    UT_hash_handle hh; // in watch->entries, by key
    struct watch *watch;
    struct directory *directory;                   // that the key's file is in
    struct entry *directory_prev, *directory_next; // in directory->entries
    struct entry *prev, *next; // in watch->dirty, or in watcher->delayed[delay_level]
    enum entry_queue queue;
    uint8_t delay_level;  // DELAYED
    uint8_t delay_next;   // the level of the next delay; 0 when there was none, or it is over
    int64_t due_ns;       // DELAYED: of the monotonic clock
    uint32_t scan_number; // of the last scan of the directory that met it
    bool is_present;      // else it was never told, or told as deleted, and is here for its queue
    struct weir_file_told told; // if is_present
    size_t key_size;
    char key[];
};

// A directory of keys that some watch is interested in. It is there while it exists or entries are
// in it.
struct directory {
    UT_hash_handle hh;    // in watcher->directories, by prefix
    UT_hash_handle hh_wd; // in watcher->directories_by_wd
    int wd;               // of inotify; -1: it does not exist, or could not be watched
    bool is_unwatched;    // it exists and inotify refuses it: only rescans see into it
    bool is_recalled;     // it was not entered yet: all that is known of it is dirty already
    uint64_t interest;    // how many watches may have keys in it or below
    struct entry *entries;
    uint32_t scan_number; // of the last scan
    bool is_scan_queued;
    struct directory *scan_prev, *scan_next; // in watcher->scan_queue
    struct directory *baseline_next;         // in weir_file_tree_baseline's list ...
    uint32_t baseline_number;                // ... of that number
    size_t prefix_size;
    char prefix[]; // of its keys; empty, or ends in '/'
};

// Requests of other threads to a watch; bits.
enum request { REQUEST_ADD = 1, REQUEST_REMOVE = 2, REQUEST_RESUME = 4 };

// The answer to REQUEST_ADD. Owned by the watch until it is answered.
struct reply {
    bool is_done;
    weir_status status;
    struct weir_error error;
};

struct watch {
    struct weir_watch base;
    struct weir_file_watcher *watcher;
    struct weir_pattern pattern;
    char *pattern_text; // owned
    struct weir_sink sink;
    uint64_t event_bytes_max;
    struct weir_meter *meter; // see struct weir_watch_args; may be NULL
    bool is_resumed;          // it goes on after a stop
    bool is_remembered;       // its sink is to remember what there was when it began

    // is_resumed: what was told before, until the thread has taken it over. is_remembered: what
    // there was when it began, from the thread's answer to REQUEST_ADD on. Belongs to the thread
    // between that request and the answer, else to the one that begins the watch.
    struct weir_file_notes notes;

    // Held over each call of the sink, so that after unwatch has held it once no other comes.
    pthread_mutex_t offer_lock;
    bool is_silenced; // under offer_lock: the sink is gone

    // Under watcher->lock.
    unsigned requests; // bits of enum request; in watcher->requests while not 0
    struct watch *request_prev, *request_next;
    struct reply *reply;

    // The thread's own.
    bool is_registered;                    // in the lists below
    bool is_paused;                        // the sink had no room, or does not remember yet what
                                           // there was: offer nothing before its resume
    bool is_stopped;                       // the sink wants nothing any more
    bool is_comparing;                     // it goes on, and not all of it was looked at yet
    bool is_over;                          // keys_max is reached, some keys are not followed
    struct watch *prev, *next;             // in watcher->watches
    struct watch *peer_prev, *peer_next;   // in watcher->prefixes, or in its struct exact
    struct watch *ready_prev, *ready_next; // in watcher->ready, if is_ready
    bool is_ready;
    struct entry *entries; // table
    struct entry *dirty;   // in the order in which they became so
};

// The watches of one exact key.
struct exact {
    UT_hash_handle hh; // in watcher->exacts, by key
    struct watch *watches;
    char key[];
};

enum root_state {
    ROOT_UNKNOWN,
    ROOT_PRESENT,
    ROOT_MISSING,     // there is no such directory: no key exists
    ROOT_UNREACHABLE, // looking fails: nothing is known
};

struct weir_file_watcher {
    // Constant.
    char *name;
    char *path;
    char *source; // of events: "/" and the name
    uint64_t keys_max, directories_max;
    int64_t rescan_ns;
    int wake_fd;    // eventfd: somebody has a request, or is_stopping
    int inotify_fd; // not blocking
    pthread_t thread;

    atomic_bool is_stopping;

    pthread_mutex_t log_lock;
    struct weir_log *log; // under log_lock; NULL once nobody may be called any more

    pthread_mutex_t lock;    // never held over a call that may block or call out
    pthread_cond_t answered; // some reply is done, or the thread has ended
    struct watch *requests;  // first come, first served
    bool is_finished;        // the thread touches nothing any more ...
    bool is_abandoned;       // ... or is to free the watcher itself

    // The thread's own: the watches.
    struct watch *watches;
    size_t watch_count;
    struct exact *exacts; // table
    struct watch *prefixes;
    struct watch *ready; // have dirty keys and a sink that may have room
    struct entry *delayed[DELAY_LEVELS];

    // The directories.
    struct directory *directories;       // table
    struct directory *directories_by_wd; // table
    struct directory *scan_queue;
    struct {
        struct directory *directory; // NULL: no scan is under way
        DIR *dir;
    } scan;
    bool has_idle_directories; // some directory may be of no use any more
    bool is_over;              // directories_max is reached, some directories are not followed
    bool is_rescanning;        // everything was queued, and not all of it is done
    bool is_rescan_wanted;     // once more when that is done
    bool is_refusal_told;      // that inotify refused a directory was logged
    bool is_denial_told;       // that a directory may not be read was logged
    uint32_t baseline_number;  // of the last weir_file_tree_baseline
    int64_t rescan_began_ns;
    int64_t rescan_due_ns; // INT64_MAX: never

    // The resource's own directory.
    enum root_state root_state;
    bool is_root_doubtful; // look whether it is still there
    int root_fd;           // open only while there is work
    int root_errno;        // why root_fd could not be opened
    dev_t root_dev;
    ino_t root_ino;
    int64_t root_due_ns; // when to look again

    char *buffer; // for values; buffer_size bytes
    size_t buffer_size;
    _Alignas(8) char records[64 * 1024];   // of inotify
    char chain[WEIR_FILE_CHAIN_BYTES_MAX]; // the attribute of the file that is looked at
};

// ---- watch.c ----

// Logs with the resource's name, and the cause where it is not NULL. Drops it once the watcher was
// abandoned.
void weir_file_watcher_log(struct weir_file_watcher *watcher, enum weir_log_level level,
                           const char *message, const char *cause);

// The watches that a key matches: for (struct match m = weir_file_match_first(...); m.watch;
// weir_file_match_next(&m)). A watch must not be removed meanwhile.
struct match {
    struct watch *watch; // NULL: no more
    struct weir_str key;
    bool is_prefix;         // the exact ones are through
    struct watch *prefixes; // all that watch a prefix
};
struct match weir_file_match_first(const struct weir_file_watcher *watcher, struct weir_str key);
void weir_file_match_next(struct match *match);

// Whether keys with this prefix, which is a directory's, may match the watch.
bool weir_file_watch_wants_directory(const struct watch *watch, struct weir_str prefix);

// ---- tree.c ----

// Makes root_fd usable. False: root_errno tells why there is none.
bool weir_file_tree_root_open(struct weir_file_watcher *watcher);
void weir_file_tree_root_release(struct weir_file_watcher *watcher);
// Looks whether the resource's directory is the one that is watched, and rescans if not.
void weir_file_tree_root_check(struct weir_file_watcher *watcher);

// Starts to watch the directories that a new watch wants, and notes what is there; of one that goes
// on after a stop, makes dirty what may differ from what it was told. The watch is registered
// already.
weir_status weir_file_tree_baseline(struct weir_file_watcher *watcher, struct watch *watch,
                                    struct weir_error *err);
// Counts the watch's interest, or takes it back and lets go of directories that nobody wants.
void weir_file_tree_want(struct weir_file_watcher *watcher, const struct watch *watch);
void weir_file_tree_unwant(struct weir_file_watcher *watcher, const struct watch *watch);

// Reads and handles what inotify has. Ends after a bounded number of reads.
void weir_file_tree_take_records(struct weir_file_watcher *watcher);
// Goes on with the scans for a bounded number of names. True: there is more to do.
bool weir_file_tree_scan(struct weir_file_watcher *watcher);
// Rescans everything now, or when the rescan under way is done.
void weir_file_tree_rescan(struct weir_file_watcher *watcher);
// Rescans everything not later than in delay_ms.
void weir_file_tree_rescan_within(struct weir_file_watcher *watcher, int64_t delay_ms);
// Frees directories that are of no use any more.
void weir_file_tree_collect(struct weir_file_watcher *watcher);
// Frees all of it.
void weir_file_tree_finish(struct weir_file_watcher *watcher);

// ---- reconcile.c ----

// Begins to count how much of what a watch that goes on has to look at is done.
void weir_file_reconcile_measure(struct watch *watch);

enum hint {
    HINT_CHANGED, // the file may have changed
    HINT_CREATED, // a name came, perhaps with a writer behind it who is not done
    HINT_AGAIN,   // nothing new: it is time to try again, or there is room
};

// Compares a key with what each watch of it was told.
void weir_file_reconcile_key(struct weir_file_watcher *watcher, struct directory *directory,
                             struct weir_str key, enum hint hint);
// The same for a key that a scan met, with this stamp: costs little where nothing changed.
void weir_file_reconcile_scanned(struct weir_file_watcher *watcher, struct directory *directory,
                                 struct weir_str key, const struct weir_file_stamp *stamp);
// Hints for all entries of a directory, or for those that its last scan did not meet.
void weir_file_reconcile_directory(struct weir_file_watcher *watcher, struct directory *directory,
                                   bool only_unmet);
// Notes what a watch was told of a key before the stop, and makes it dirty. WEIR_LIMIT,
// WEIR_NO_MEMORY.
weir_status weir_file_reconcile_recall(struct weir_file_watcher *watcher, struct watch *watch,
                                       struct directory *directory, struct weir_str key,
                                       const struct weir_file_told *told, struct weir_error *err);
// Notes that a key is there when a watch begins, without telling it; of a watch that goes on,
// leaves it dirty if it may differ from what was told. WEIR_LIMIT, WEIR_NO_MEMORY.
weir_status weir_file_reconcile_baseline(struct weir_file_watcher *watcher, struct watch *watch,
                                         struct directory *directory, struct weir_str key,
                                         const struct weir_file_stamp *stamp,
                                         struct weir_error *err);
// Appends all that a watch knows to the list. False without memory.
bool weir_file_reconcile_notes(const struct watch *watch, struct weir_file_notes *notes);
// Goes on with the dirty keys of the watches that have room, for a bounded number of keys. True:
// there are more.
bool weir_file_reconcile_drain(struct weir_file_watcher *watcher);
// The sink has room again.
void weir_file_reconcile_resume(struct weir_file_watcher *watcher, struct watch *watch);
// When the first delayed key is due; INT64_MAX: there is none.
int64_t weir_file_reconcile_due_ns(const struct weir_file_watcher *watcher);
// Makes delayed keys that are due dirty.
void weir_file_reconcile_delayed(struct weir_file_watcher *watcher, int64_t now_ns);
// Forgets all keys of a watch.
void weir_file_reconcile_forget(struct weir_file_watcher *watcher, struct watch *watch);

#endif

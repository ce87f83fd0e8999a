// SPDX-License-Identifier: Apache-2.0
//
// The comparison that every hint leads to: what is there now, against what a watch was told last.
// It decides what is an event, and builds it.
//
// Told is a key's present state, so a key that changed twice before it was looked at is told once
// (latest-value). A sink without room costs memory for the keys that changed, never for their
// values: each is one entry in the watch's list, and its value is read when the sink has room.
//
// A file's stamp decides first. The same stamp is the same content only if it was settled when it
// was read, since file times tick; otherwise the content is read and its hash decides. A foreign
// writer who writes the same content again is told as a set if the time of modification differs,
// because to that writer it was one.
//
// What was there when the watch began was not read, so its hash is not known (files that are
// younger than the clock's tick are the exception). A hint about such a file whose stamp differs in
// nothing but the inode's change time (chmod, or a copy that set the old time again) is told as a
// set: better once too often than not at all.
//
// A watch that goes on after a stop is nothing new: it begins with what was told before (the
// fingerprints that its sink kept) instead of with what is there, and all of that is dirty but for
// what is seen to be the same.
//
// Half a value is never told where the kernel can say that somebody has the file open for writing
// (access.c). Such a key is delayed: its writer's close brings a record, and if it does not (the
// file was given its name by linkat while it was open, the record was lost) it is looked at again
// after a while.
//
// The watcher's thread only.
#include "provider/file/watcher.h"

#include "base/clock.h"
#include "base/progress.h"
#include "base/show.h"
#include "provider/keyvalue.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    DELAY_FIRST_NS = 50000, // before a delayed key is looked at again; doubles with each level
    // How long an empty file may be one whose writer is still in open(2), where it may lose the
    // processor; a file's times are the last tick's, so that one just made seems as old already.
    EMPTY_YOUNG_MS = WEIR_CLOCK_COARSE_MS + 10,
    DELAY_LEVEL_SLOW = 11,       // where a key begins that cannot be ready at once: about 100 ms
    NO_MEMORY_RESCAN_MS = 100,   // when a key could not even be noted
    ROOM_RESCAN_MS = 1000,       // when there may be room for keys that were left out
    DRAIN_SLICE_KEYS = 256,      // dirty keys before records are looked at again
    DRAIN_TURN_KEYS = 32,        // of one watch before it is the next one's turn
    BUFFER_BYTES_KEPT = 1 << 20, // a larger buffer for values is given back after use
    REVISION_BYTES = 96,
    OPENS_MAX = 3, // of a file that loses its name meanwhile
};

// ---- entries ----

static struct weir_str key_of(const struct entry *entry) {
    return (struct weir_str){.data = entry->key, .size = entry->key_size};
}

static struct entry *find(const struct watch *watch, struct weir_str key) {
    struct entry *entry;
    HASH_FIND(hh, watch->entries, key.data, key.size, entry);
    return entry;
}

// Sets the watch into or takes it out of the list of those that have something to offer and may.
static void update_ready(struct weir_file_watcher *watcher, struct watch *watch) {
    bool is_ready = watch->dirty && !watch->is_paused && !watch->is_stopped;
    if (is_ready && !watch->is_ready) {
        DL_APPEND2(watcher->ready, watch, ready_prev, ready_next);
    } else if (!is_ready && watch->is_ready) {
        DL_DELETE2(watcher->ready, watch, ready_prev, ready_next);
    }
    watch->is_ready = is_ready;
    if (watch->is_comparing && !watch->dirty) {
        watch->is_comparing = false;
        weir_meter_end(watch->meter);
    }
}

static void unqueue(struct weir_file_watcher *watcher, struct entry *entry) {
    struct watch *watch = entry->watch;
    if (entry->queue == DIRTY) {
        DL_DELETE(watch->dirty, entry);
        update_ready(watcher, watch);
    } else if (entry->queue == DELAYED) {
        DL_DELETE(watcher->delayed[entry->delay_level], entry);
    }
    entry->queue = NOT_QUEUED;
}

static void queue_dirty(struct weir_file_watcher *watcher, struct entry *entry) {
    if (entry->queue != DIRTY) {
        unqueue(watcher, entry);
        entry->queue = DIRTY;
        DL_APPEND(entry->watch->dirty, entry);
        update_ready(watcher, entry->watch);
    }
}

// Delays the key: by what its level says, and not less than level_min says. The next time it will
// be twice as long.
static void queue_delayed(struct weir_file_watcher *watcher, struct entry *entry,
                          uint8_t level_min) {
    unqueue(watcher, entry);
    uint8_t level = entry->delay_next > level_min ? entry->delay_next : level_min;
    entry->queue = DELAYED;
    entry->delay_level = level;
    entry->delay_next = level + 1 < DELAY_LEVELS ? level + 1 : level;
    entry->due_ns = weir_clock_monotonic_ns() + ((int64_t)DELAY_FIRST_NS << level);
    DL_APPEND(watcher->delayed[level], entry);
}

static void entry_remove(struct weir_file_watcher *watcher, struct entry *entry) {
    struct watch *watch = entry->watch;
    struct directory *directory = entry->directory;
    unqueue(watcher, entry);
    HASH_DEL(watch->entries, entry);
    DL_DELETE2(directory->entries, entry, directory_prev, directory_next);
    if (directory->wd < 0) {
        watcher->has_idle_directories = true;
    }
    free(entry);
    if (watch->is_over) {
        watch->is_over = false;
        weir_file_tree_rescan_within(watcher, ROOM_RESCAN_MS);
    }
}

static weir_status entry_add(struct weir_file_watcher *watcher, struct watch *watch,
                             struct directory *directory, struct weir_str key,
                             struct entry **ret_entry) {
    *ret_entry = NULL;
    if (HASH_COUNT(watch->entries) >= watcher->keys_max) {
        return WEIR_LIMIT;
    }
    struct entry *entry = calloc(1, sizeof *entry + key.size);
    if (!entry) {
        return WEIR_NO_MEMORY;
    }
    entry->watch = watch;
    entry->directory = directory;
    entry->scan_number = directory->scan_number;
    entry->key_size = key.size;
    memcpy(entry->key, key.data, key.size);
    HASH_ADD_KEYPTR(hh, watch->entries, entry->key, key.size, entry);
    if (!entry->hh.tbl) {
        free(entry);
        return WEIR_NO_MEMORY;
    }
    DL_APPEND2(directory->entries, entry, directory_prev, directory_next);
    *ret_entry = entry;
    return WEIR_OK;
}

// The entry of a key that changed, made if there is none. NULL: it cannot be followed now, and a
// rescan will find it.
static struct entry *entry_for(struct weir_file_watcher *watcher, struct watch *watch,
                               struct directory *directory, struct weir_str key) {
    struct entry *entry = find(watch, key);
    if (entry) {
        return entry;
    }
    weir_status status = entry_add(watcher, watch, directory, key, &entry);
    if (status == WEIR_NO_MEMORY) {
        weir_file_tree_rescan_within(watcher, NO_MEMORY_RESCAN_MS);
    } else if (status == WEIR_LIMIT && !watch->is_over) {
        watch->is_over = true; // until a key goes
        weir_file_watcher_log(
            watcher, WEIR_LOG_ERROR,
            "keys_max is reached: further keys are not told until others are removed", NULL);
    }
    return entry;
}

// ---- looking at a file ----

enum presence { ABSENT, PRESENT, BUSY, FAILED };

// One look at one key, for all watches of it.
struct look {
    struct weir_str key;
    bool is_done;
    enum presence presence;
    int code; // FAILED: the errno value
    int fd;   // open until the content is read
    enum weir_file_lease lease;
    uint64_t links;
    struct weir_file_stamp stamp;
    int64_t looked_ns; // of the wall clock
    bool is_read;
    struct weir_str content; // in watcher->buffer
    uint64_t hash;
    bool is_chain_read; // whatever was found
    bool has_chain;
    struct weir_file_chain_record chain; // in watcher->chain
    struct weir_event *events[2];        // without and with data; made when first wanted
};

static struct look look_of(struct weir_str key) {
    return (struct look){.key = key, .fd = -1};
}

static void look_finish(struct weir_file_watcher *watcher, struct look *look) {
    weir_file_close(&look->fd);
    weir_event_unref(look->events[0]);
    weir_event_unref(look->events[1]);
    if (watcher->buffer_size > BUFFER_BYTES_KEPT) {
        free(watcher->buffer);
        watcher->buffer = NULL;
        watcher->buffer_size = 0;
    }
}

static void look_end(struct look *look, enum presence presence, int code) {
    weir_file_close(&look->fd);
    look->presence = presence;
    look->code = code;
}

// What errno says about a file that could not be opened.
static void look_end_errno(struct look *look, int code) {
    if (weir_file_is_absence(code)) {
        look_end(look, ABSENT, 0);
    } else if (code == EAGAIN) { // somebody else's lease
        look_end(look, BUSY, 0);
    } else {
        look_end(look, FAILED, code);
    }
}

// open(2) with O_CREAT gives a file its name a moment before the kernel counts its writer, so that
// a lease is granted on a file that is empty because nobody has come to write it yet.
static bool is_being_made(const struct stat *st, int64_t wall_ns) {
    int64_t age_ns =
        wall_ns - ((int64_t)st->st_ctim.tv_sec * WEIR_NS_PER_S + (int64_t)st->st_ctim.tv_nsec);
    return st->st_size == 0 && age_ns >= 0 && age_ns < EMPTY_YOUNG_MS * WEIR_NS_PER_MS;
}

// Opens the file that has this name now. One that lost it between open and stat, removed or
// replaced, has a younger time of change, and what is told would be a state that the key never had;
// after OPENS_MAX it is taken as it is, for file systems that count no links. Returns errno of the
// stat, or 0; look->fd is negative where there is no file.
static int open_named(struct weir_file_watcher *watcher, const char *path, struct look *look,
                      struct stat *ret_st) {
    for (int times = 1;; times++) {
        look->fd = weir_file_open(watcher->root_fd, path, O_RDONLY, 0);
        if (look->fd < 0) {
            return 0;
        }
        look->lease = weir_file_lease_take(look->fd);
        look->looked_ns = weir_clock_wall_ns();
        if (fstat(look->fd, ret_st) < 0) {
            return errno;
        }
        if (ret_st->st_nlink > 0 || times == OPENS_MAX) {
            return 0;
        }
        weir_file_close(&look->fd);
    }
}

// Looks, if that was not done yet.
static void look_at(struct weir_file_watcher *watcher, struct look *look) {
    if (look->is_done) {
        return;
    }
    look->is_done = true;
    struct weir_file_path path;
    if (weir_file_key_encode(look->key, &path, NULL)) {
        look_end(look, ABSENT, 0); // longer than any key that can be asked for
        return;
    }
    if (!weir_file_tree_root_open(watcher)) {
        look_end_errno(look, watcher->root_errno);
        return;
    }
    struct stat st;
    int code = open_named(watcher, path.text, look, &st);
    if (look->fd < 0) {
        look_end_errno(look, -look->fd);
    } else if (code != 0) {
        look_end(look, FAILED, code);
    } else if (!S_ISREG(st.st_mode)) {
        look_end(look, ABSENT, 0);
    } else if (look->lease == WEIR_FILE_LEASE_BUSY || is_being_made(&st, look->looked_ns)) {
        look_end(look, BUSY, 0);
    } else {
        look->presence = PRESENT;
        look->links = (uint64_t)st.st_nlink;
        look->stamp = weir_file_stamp_of(&st);
    }
}

static bool make_room(struct weir_file_watcher *watcher, size_t size) {
    if (size <= watcher->buffer_size) {
        return true;
    }
    char *buffer = malloc(size); // not realloc: what is in it is not needed
    if (!buffer) {
        return false;
    }
    free(watcher->buffer);
    watcher->buffer = buffer;
    watcher->buffer_size = size;
    return true;
}

// Reads the chain of a present file, if that was not done yet.
static void look_chain(struct weir_file_watcher *watcher, struct look *look) {
    if (!look->is_chain_read && look->fd >= 0) {
        look->is_chain_read = true;
        look->has_chain = weir_file_chain_read(look->fd, watcher->chain, &look->chain);
    }
}

// Reads the content of a present file, if that was not done yet. The presence tells how it went.
static void look_read(struct weir_file_watcher *watcher, struct look *look) {
    if (look->is_read) {
        return;
    }
    size_t size = (size_t)look->stamp.size;
    // A power of two at least, so that values that grow slowly do not ask for memory each time.
    size_t room = 4096;
    while (room < size + 1) {
        room *= 2;
    }
    if (!make_room(watcher, room)) {
        look_end(look, FAILED, ENOMEM);
        return;
    }
    // One byte more shows a file that is longer than it says; under a lease on one that is not
    // empty it would only be a second read.
    bool is_sure = look->lease == WEIR_FILE_LEASE_HELD && size > 0;
    ssize_t got = weir_file_read(look->fd, watcher->buffer, is_sure ? size : size + 1);
    if (got < 0) {
        look_end(look, FAILED, (int)-got);
        return;
    }
    if (look->lease != WEIR_FILE_LEASE_HELD) { // somebody may be writing
        struct stat st;
        if (fstat(look->fd, &st) < 0) {
            look_end(look, FAILED, errno);
            return;
        }
        struct weir_file_stamp after = weir_file_stamp_of(&st);
        if (!weir_file_stamp_equal(&look->stamp, &after)) {
            look_end(look, BUSY, 0);
            return;
        }
    }
    if ((size_t)got != size) {
        look_end(look, BUSY, 0);
        return;
    }
    look_chain(watcher, look);  // belongs to this content: the same descriptor, the same lease
    weir_file_close(&look->fd); // a writer may be waiting
    look->is_read = true;
    look->content = (struct weir_str){.data = watcher->buffer, .size = size};
    look->hash = XXH3_64bits(watcher->buffer, size);
}

// ---- events ----

static char *put_text(char *at, struct weir_str text) {
    memcpy(at, text.data, text.size);
    return at + text.size;
}

static char *put_hex(char *at, uint64_t value) {
    static const char digits[] = "0123456789abcdef";
    int shift = 60;
    while (shift > 0 && value >> shift == 0) {
        shift -= 4;
    }
    for (; shift >= 0; shift -= 4) {
        *at++ = digits[value >> shift & 15];
    }
    return at;
}

// "CTIME-INO-SIZE-HASH", in hex; without the hash where it is not known, and with "-deleted" for
// what came after it. The time is that of the inode, not that of the modification: a file that is
// moved away and back, or linked again, keeps the latter, and its second coming would have the id
// of the first, which who drops repeated ids would drop.
static struct weir_str format_revision(const struct weir_file_stamp *stamp, const uint64_t *hash,
                                       bool is_deleted, char buffer[static REVISION_BYTES]) {
    char *at = put_hex(buffer, (uint64_t)stamp->ctime_ns);
    *at++ = '-';
    at = put_hex(at, stamp->ino);
    *at++ = '-';
    at = put_hex(at, stamp->size);
    if (hash) {
        *at++ = '-';
        at = put_hex(at, *hash);
    }
    if (is_deleted) {
        at = put_text(at, WEIR_STR("-deleted"));
    }
    return (struct weir_str){.data = buffer, .size = (size_t)(at - buffer)};
}

// Appends the extensions of a chain; returns how many there are.
static size_t put_chain(const struct weir_file_chain *chain,
                        struct weir_attribute ret_extensions[static 3]) {
    const struct weir_attribute rows[] = {
        {WEIR_STR(WEIR_EXTENSION_CAUSATION), chain->causation},
        {WEIR_STR(WEIR_EXTENSION_CORRELATION), chain->correlation},
        {WEIR_STR(WEIR_EXTENSION_HOPS), chain->hops},
    };
    size_t count = 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].value.size > 0) {
            ret_extensions[count++] = rows[i];
        }
    }
    return count;
}

// What a watch knows that was told what the look saw.
static struct weir_file_told told_of_look(const struct look *look, bool has_hash) {
    return (struct weir_file_told){
        .stamp = look->stamp,
        .hash = has_hash ? look->hash : 0,
        .has_hash = has_hash,
        .is_settled = weir_file_stamp_is_settled(&look->stamp, look->looked_ns),
    };
}

// The event of a present file, made once for all watches that want it in the same form. NULL
// without memory.
static struct weir_event *set_event(struct weir_file_watcher *watcher, struct look *look,
                                    bool has_data) {
    struct weir_event **event = &look->events[has_data];
    if (!*event) {
        char buffer[REVISION_BYTES];
        struct weir_file_told told = told_of_look(look, has_data);
        char fingerprint[WEIR_FILE_FINGERPRINT_BYTES];
        look_chain(watcher, look);
        bool is_chained =
            look->has_chain && (has_data ? look->chain.hash == look->hash
                                         : look->chain.mtime_ns == look->stamp.mtime_ns);
        struct weir_attribute extensions[3];
        struct weir_keyvalue_change change = {
            .source = weir_str_of(watcher->source),
            .key = look->key,
            .revision = format_revision(&look->stamp, has_data ? &look->hash : NULL, false, buffer),
            .wall_ns = look->stamp.mtime_ns,
            .position = weir_file_fingerprint_encode(&told, fingerprint),
            .data = has_data ? &look->content : NULL,
            .size_bytes = look->stamp.size,
            .extensions = extensions,
            .extension_count = is_chained ? put_chain(&look->chain.chain, extensions) : 0,
        };
        weir_keyvalue_event(&change, event, NULL);
    }
    return *event;
}

static weir_status deleted_event(struct weir_file_watcher *watcher, const struct entry *entry,
                                 struct weir_event **ret_event) {
    char buffer[REVISION_BYTES];
    struct weir_keyvalue_change change = {
        .source = weir_str_of(watcher->source),
        .key = key_of(entry),
        .is_deleted = true,
        .revision = format_revision(&entry->told.stamp,
                                    entry->told.has_hash ? &entry->told.hash : NULL, true, buffer),
        .wall_ns = weir_clock_wall_ns(),
    };
    return weir_keyvalue_event(&change, ret_event, NULL);
}

// ---- comparing and telling ----

// Gives the event to the sink. On any answer but WEIR_OK and WEIR_STOPPED the entry is queued.
// Returns whether the event was taken.
static bool offer(struct weir_file_watcher *watcher, struct entry *entry,
                  struct weir_event *event) {
    struct watch *watch = entry->watch;
    pthread_mutex_lock(&watch->offer_lock);
    weir_status status =
        watch->is_silenced ? WEIR_STOPPED : watch->sink.offer(watch->sink.context, event);
    pthread_mutex_unlock(&watch->offer_lock);
    switch (status) {
    case WEIR_OK:
        return true;
    case WEIR_STOPPED:
        watch->is_stopped = true;
        update_ready(watcher, watch);
        return false;
    case WEIR_AGAIN:
        watch->is_paused = true;
        queue_dirty(watcher, entry);
        update_ready(watcher, watch);
        return false;
    default: // WEIR_NO_MEMORY
        queue_delayed(watcher, entry, DELAY_LEVEL_SLOW);
        return false;
    }
}

// What the watch knows now is what the look saw.
static void remember(struct weir_file_watcher *watcher, struct entry *entry,
                     const struct look *look, bool has_hash) {
    unqueue(watcher, entry);
    entry->delay_next = 0;
    entry->is_present = true;
    entry->told = told_of_look(look, has_hash);
}

static void log_failure(struct weir_file_watcher *watcher, const struct look *look) {
    char shown[WEIR_SHOW_BYTES];
    struct weir_error error;
    weir_fail_errno(&error, look->code, "cannot read the key \"%s\"",
                    weir_show(look->key, shown, sizeof shown));
    weir_file_watcher_log(watcher, WEIR_LOG_WARN, "a change is told late", error.message);
}

// The content cannot be had now. `entry` may be NULL.
//
// A file that is busy though its writer has closed it is a matter of microseconds: inotify tells of
// a close before the kernel has taken the writer off the file's count, and what a file system does
// in between (ext4 starts to write out what was truncated before) takes its time.
static void tell_later(struct weir_file_watcher *watcher, struct watch *watch,
                       struct directory *directory, struct entry *entry, const struct look *look,
                       enum hint hint) {
    if (look->presence == FAILED) {
        log_failure(watcher, look);
    }
    if (!entry) {
        entry = entry_for(watcher, watch, directory, look->key);
    }
    if (entry) {
        bool is_quick = look->presence == BUSY && hint != HINT_CREATED;
        queue_delayed(watcher, entry, is_quick ? 0 : DELAY_LEVEL_SLOW);
    }
}

static void log_omitted(struct weir_file_watcher *watcher, const struct watch *watch,
                        const struct look *look) {
    char shown[WEIR_SHOW_BYTES], text[WEIR_ERROR_MESSAGE_BYTES];
    snprintf(text, sizeof text, "the value of \"%s\" has %" PRIu64 " bytes, the most is %" PRIu64,
             weir_show(look->key, shown, sizeof shown), look->stamp.size, watch->event_bytes_max);
    weir_file_watcher_log(watcher, WEIR_LOG_WARN, "a change is told without its value", text);
}

static void tell_set(struct weir_file_watcher *watcher, struct watch *watch,
                     struct directory *directory, struct entry *entry, struct look *look,
                     enum hint hint) {
    bool was_present = entry && entry->is_present;
    bool is_same_stamp = was_present && weir_file_stamp_equal(&entry->told.stamp, &look->stamp);
    if (is_same_stamp && entry->told.is_settled) {
        unqueue(watcher, entry);
        return;
    }
    bool fits = look->stamp.size <= watch->event_bytes_max;
    if (fits) {
        look_read(watcher, look);
        if (look->presence != PRESENT) {
            tell_later(watcher, watch, directory, entry, look, hint);
            return;
        }
    }
    bool is_same = fits ? was_present && entry->told.has_hash && entry->told.hash == look->hash &&
                              weir_file_stamp_same_content(&entry->told.stamp, &look->stamp)
                        : is_same_stamp; // the content of a large value is not compared
    if (is_same) {
        remember(watcher, entry, look, fits);
        return;
    }
    if (!entry) {
        entry = entry_for(watcher, watch, directory, look->key);
    }
    if (!entry) {
        return;
    }
    struct weir_event *event = set_event(watcher, look, fits);
    if (!event) {
        queue_delayed(watcher, entry, DELAY_LEVEL_SLOW);
    } else if (offer(watcher, entry, event)) {
        remember(watcher, entry, look, fits);
        if (!fits) {
            log_omitted(watcher, watch, look);
        }
    } else if (!entry->is_present && entry->queue == NOT_QUEUED) {
        entry_remove(watcher, entry);
    }
}

static void tell_deleted(struct weir_file_watcher *watcher, struct entry *entry) {
    if (!entry) {
        return;
    }
    if (!entry->is_present) { // it came and went before it could be told
        entry_remove(watcher, entry);
        return;
    }
    struct weir_event *event;
    if (deleted_event(watcher, entry, &event)) {
        queue_delayed(watcher, entry, DELAY_LEVEL_SLOW);
        return;
    }
    if (offer(watcher, entry, event)) {
        entry_remove(watcher, entry);
    }
    weir_event_unref(event);
}

// Compares the key with what the watch was told, and tells what differs. `directory` is the one
// that its file is in.
static void reconcile(struct weir_file_watcher *watcher, struct watch *watch,
                      struct directory *directory, struct look *look, enum hint hint) {
    struct entry *entry = find(watch, look->key);
    if (watch->is_stopped || (!entry && watch->is_over)) {
        return;
    }
    if (watch->is_paused) {
        if (!entry) {
            entry = entry_for(watcher, watch, directory, look->key);
        }
        if (entry) {
            queue_dirty(watcher, entry);
        }
        return;
    }
    if (entry && hint != HINT_AGAIN) {
        entry->delay_next = 0; // something happened: what was waited for may be over
    }
    look_at(watcher, look);
    switch (look->presence) {
    case ABSENT:
        tell_deleted(watcher, entry);
        return;
    case PRESENT:
        // A file that was just made and has one name is its writer's still; the close will tell.
        // Only a lease shows that there is no writer.
        if (hint == HINT_CREATED && look->lease == WEIR_FILE_LEASE_NONE && look->links == 1) {
            return;
        }
        tell_set(watcher, watch, directory, entry, look, hint);
        return;
    case BUSY:
    case FAILED:
        tell_later(watcher, watch, directory, entry, look, hint);
        return;
    }
}

void weir_file_reconcile_key(struct weir_file_watcher *watcher, struct directory *directory,
                             struct weir_str key, enum hint hint) {
    struct look look = look_of(key);
    for (struct match match = weir_file_match_first(watcher, key); match.watch;
         weir_file_match_next(&match)) {
        reconcile(watcher, match.watch, directory, &look, hint);
    }
    look_finish(watcher, &look);
}

// Whether a file with this stamp is what was told, without a look at it.
static bool is_surely_told(const struct entry *entry, const struct weir_file_stamp *stamp) {
    return entry->is_present && entry->told.is_settled &&
           weir_file_stamp_equal(&entry->told.stamp, stamp);
}

void weir_file_reconcile_scanned(struct weir_file_watcher *watcher, struct directory *directory,
                                 struct weir_str key, const struct weir_file_stamp *stamp) {
    bool may_differ = false;
    for (struct match match = weir_file_match_first(watcher, key); match.watch;
         weir_file_match_next(&match)) {
        struct entry *entry = find(match.watch, key);
        if (entry) {
            entry->scan_number = directory->scan_number;
        }
        may_differ |= !entry || !is_surely_told(entry, stamp);
    }
    if (may_differ) {
        weir_file_reconcile_key(watcher, directory, key, HINT_CHANGED);
    }
}

void weir_file_reconcile_directory(struct weir_file_watcher *watcher, struct directory *directory,
                                   bool only_unmet) {
    struct entry *entry;
    DL_FOREACH2(directory->entries, entry, directory_next) {
        if (!only_unmet || entry->scan_number != directory->scan_number) {
            queue_dirty(watcher, entry);
        }
    }
}

// Adds a key to a watch that begins, or fails with what to do.
static weir_status entry_begin(struct weir_file_watcher *watcher, struct watch *watch,
                               struct directory *directory, struct weir_str key,
                               struct entry **ret_entry, struct weir_error *err) {
    weir_status status = entry_add(watcher, watch, directory, key, ret_entry);
    if (status == WEIR_LIMIT) {
        return weir_fail(err, WEIR_LIMIT,
                         "\"%s\" has more than %" PRIu64
                         " keys to watch; raise keys_max, or watch a "
                         "narrower key",
                         watcher->path, watcher->keys_max);
    }
    return status ? weir_fail_no_memory(err, "the keys of a watch") : WEIR_OK;
}

weir_status weir_file_reconcile_recall(struct weir_file_watcher *watcher, struct watch *watch,
                                       struct directory *directory, struct weir_str key,
                                       const struct weir_file_told *told, struct weir_error *err) {
    struct entry *entry = find(watch, key);
    weir_status status = entry ? WEIR_OK : entry_begin(watcher, watch, directory, key, &entry, err);
    if (!status) {
        entry->is_present = true;
        entry->told = *told;
        queue_dirty(watcher, entry);
    }
    return status;
}

// What is there when a watch goes on: dirty, unless it is what was told.
static weir_status compare_baseline(struct weir_file_watcher *watcher, struct watch *watch,
                                    struct directory *directory, struct weir_str key,
                                    const struct weir_file_stamp *stamp, struct weir_error *err) {
    struct entry *entry = find(watch, key);
    if (entry) {
        if (is_surely_told(entry, stamp)) {
            unqueue(watcher, entry);
        }
        return WEIR_OK;
    }
    // Keys that came and keys that went may be too many together: the ones that went make room.
    if (HASH_COUNT(watch->entries) >= watcher->keys_max) {
        entry_for(watcher, watch, directory, key);
        return WEIR_OK;
    }
    weir_status status = entry_begin(watcher, watch, directory, key, &entry, err);
    if (!status) {
        queue_dirty(watcher, entry);
    }
    return status;
}

bool weir_file_reconcile_notes(const struct watch *watch, struct weir_file_notes *notes) {
    for (const struct entry *entry = watch->entries; entry; entry = entry->hh.next) {
        if (!weir_file_notes_add(notes, key_of(entry), &entry->told)) {
            return false;
        }
    }
    return true;
}

weir_status weir_file_reconcile_baseline(struct weir_file_watcher *watcher, struct watch *watch,
                                         struct directory *directory, struct weir_str key,
                                         const struct weir_file_stamp *stamp,
                                         struct weir_error *err) {
    if (watch->is_resumed) {
        return compare_baseline(watcher, watch, directory, key, stamp, err);
    }
    if (find(watch, key)) {
        return WEIR_OK; // met twice by readdir
    }
    struct entry *entry;
    weir_status status = entry_begin(watcher, watch, directory, key, &entry, err);
    if (status) {
        return status;
    }
    struct look look = look_of(key);
    look.stamp = *stamp;
    look.looked_ns = weir_clock_wall_ns();
    bool is_read = false;
    if (!weir_file_stamp_is_settled(stamp, look.looked_ns)) {
        // So young that the next change may leave the same stamp: its content is what will tell
        // them apart.
        look_at(watcher, &look);
        if (look.presence == PRESENT && look.stamp.size <= watch->event_bytes_max) {
            look_read(watcher, &look);
        }
        is_read = look.presence == PRESENT && look.is_read;
    }
    remember(watcher, entry, &look, is_read);
    look_finish(watcher, &look);
    return WEIR_OK;
}

// Compares the first dirty key of a watch.
static void drain_first(struct weir_file_watcher *watcher, struct watch *watch) {
    struct entry *entry = watch->dirty;
    char key[WEIR_KEY_BYTES_MAX]; // its own, for the entry may go
    assert(entry->key_size <= sizeof key);
    memcpy(key, entry->key, entry->key_size);
    struct look look = look_of((struct weir_str){.data = key, .size = entry->key_size});
    struct directory *directory = entry->directory;
    unqueue(watcher, entry);
    reconcile(watcher, watch, directory, &look, HINT_AGAIN);
    look_finish(watcher, &look);
    if (watch->is_paused) { // by this key, which is the last one in the list: it was the first
        struct entry *last = watch->dirty->prev;
        DL_DELETE(watch->dirty, last);
        DL_PREPEND(watch->dirty, last);
    }
}

void weir_file_reconcile_measure(struct watch *watch) {
    size_t count;
    const struct entry *entry;
    DL_COUNT(watch->dirty, entry, count);
    watch->is_comparing = count > 0;
    if (watch->is_comparing) {
        weir_meter_begin(watch->meter, "comparing", count);
    }
}

// A key of a watch was looked at. What changes meanwhile is counted with the rest.
static void count_key(struct watch *watch) {
    if (watch->is_comparing && !watch->is_paused) {
        weir_meter_add(watch->meter, 1);
    }
}

bool weir_file_reconcile_drain(struct weir_file_watcher *watcher) {
    for (int keys = 0; keys < DRAIN_SLICE_KEYS && watcher->ready; keys++) {
        struct watch *watch = watcher->ready;
        drain_first(watcher, watch);
        count_key(watch);
        if (watch->is_ready && keys % DRAIN_TURN_KEYS == DRAIN_TURN_KEYS - 1) {
            DL_DELETE2(watcher->ready, watch, ready_prev, ready_next);
            DL_APPEND2(watcher->ready, watch, ready_prev, ready_next);
        }
    }
    return watcher->ready != NULL;
}

void weir_file_reconcile_resume(struct weir_file_watcher *watcher, struct watch *watch) {
    watch->is_paused = false;
    update_ready(watcher, watch);
}

int64_t weir_file_reconcile_due_ns(const struct weir_file_watcher *watcher) {
    int64_t due_ns = INT64_MAX;
    for (size_t level = 0; level < DELAY_LEVELS; level++) {
        const struct entry *first = watcher->delayed[level];
        if (first && first->due_ns < due_ns) {
            due_ns = first->due_ns;
        }
    }
    return due_ns;
}

void weir_file_reconcile_delayed(struct weir_file_watcher *watcher, int64_t now_ns) {
    for (size_t level = 0; level < DELAY_LEVELS; level++) {
        while (watcher->delayed[level] && watcher->delayed[level]->due_ns <= now_ns) {
            queue_dirty(watcher, watcher->delayed[level]);
        }
    }
}

void weir_file_reconcile_forget(struct weir_file_watcher *watcher, struct watch *watch) {
    watch->is_over = false; // no rescan for the room that this makes
    struct entry *entry, *next;
    HASH_ITER (hh, watch->entries, entry, next) {
        entry_remove(watcher, entry);
    }
}

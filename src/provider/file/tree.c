// SPDX-License-Identifier: Apache-2.0
//
// The directories of a watcher: which ones inotify watches, what its records mean, and the scans.
//
// Directories are watched, not files: a writer who renames puts another inode under the name, and a
// watch on the file would stay with the old one. Watched is each directory that may hold a key of
// some watch, found by comparing prefixes; a directory is first watched and then read, so a file is
// seen by one of the two.
//
// A record about a sub-directory is a hint like one about a key: directory_hint looks what is there
// now and puts the table right. Records that come late are harmless, because after each of them the
// state is that of now, and whatever is younger has a record of its own behind it. A directory that
// moved keeps its inotify watch, under another name: that shows when its number comes back for
// another prefix.
//
// Scans go on a slice at a time, between the records, so that a large directory does not hold up
// the events of others. A rescan is a scan of every directory. It follows an overflow of inotify's
// queue, the loss or change of the resource's own directory, a lack of memory or of descriptors;
// and it comes every `rescan` for what inotify does not tell: what other machines write to a
// network file system, a mount over a sub-directory, truncate(2). So that a large tree does not
// keep a core busy with that, at least RESCAN_PAUSE_FACTOR times as long as it took lies between
// two of them.
//
// The watcher's thread only.
#include "provider/file/watcher.h"

#include "base/clock.h"
#include "base/show.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

enum {
    READS_MAX = 16,         // of inotify at a time: its queue of 16384 records twice over
    SCAN_SLICE_NAMES = 512, // names of a scan before records are looked at again
    ROOT_CHECK_MS = 1000,   // how often to look whether the path still leads to the same directory
    ROOT_RETRY_MS = 200,    // the same while it leads nowhere
    RESCAN_PAUSE_FACTOR = 100,
    REFUSED_RESCAN_MS = 5000, // while inotify refuses a directory, or one could not be read
    ROOM_RESCAN_MS = 1000,    // when there may be room for directories that were left out
    TEMP_AGE_MAX_S = 3600,    // an older temporary file has lost its writer
};

static const uint32_t WATCHED_EVENTS = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE |
                                       IN_CREATE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR |
                                       IN_EXCL_UNLINK;

// Of the resource's own directory.
#define ROOT_PREFIX WEIR_STR("")

static struct weir_str prefix_of(const struct directory *directory) {
    return (struct weir_str){.data = directory->prefix, .size = directory->prefix_size};
}

// ---- the table of directories ----

static struct directory *find(const struct weir_file_watcher *watcher, struct weir_str prefix) {
    struct directory *directory;
    HASH_FIND(hh, watcher->directories, prefix.data, prefix.size, directory);
    return directory;
}

static uint64_t count_interest(const struct weir_file_watcher *watcher, struct weir_str prefix) {
    uint64_t interest = 0;
    const struct watch *watch;
    DL_FOREACH (watcher->watches, watch) {
        interest += weir_file_watch_wants_directory(watch, prefix);
    }
    return interest;
}

// The directory's struct, made if there is none.
static weir_status obtain(struct weir_file_watcher *watcher, struct weir_str prefix,
                          struct directory **ret_directory, struct weir_error *err) {
    *ret_directory = find(watcher, prefix);
    if (*ret_directory) {
        return WEIR_OK;
    }
    if (HASH_COUNT(watcher->directories) >= watcher->directories_max) {
        if (!watcher->is_over) {
            weir_file_watcher_log(
                watcher, WEIR_LOG_ERROR,
                "directories_max is reached: changes in further directories are not told", NULL);
        }
        watcher->is_over = true;
        return weir_fail(err, WEIR_LIMIT,
                         "\"%s\" has more than %llu directories; raise directories_max, or watch a "
                         "narrower key",
                         watcher->path, (unsigned long long)watcher->directories_max);
    }
    struct directory *directory = calloc(1, sizeof *directory + prefix.size);
    if (!directory) {
        return weir_fail_no_memory(err, "a directory's watch");
    }
    directory->wd = -1;
    directory->interest = count_interest(watcher, prefix);
    directory->prefix_size = prefix.size;
    if (prefix.size > 0) {
        memcpy(directory->prefix, prefix.data, prefix.size);
    }
    HASH_ADD_KEYPTR(hh, watcher->directories, directory->prefix, prefix.size, directory);
    if (!directory->hh.tbl) {
        free(directory);
        return weir_fail_no_memory(err, "a directory's watch");
    }
    *ret_directory = directory;
    return WEIR_OK;
}

static void scan_end(struct weir_file_watcher *watcher) {
    if (watcher->scan.dir) {
        closedir(watcher->scan.dir);
    }
    watcher->scan.dir = NULL;
    watcher->scan.directory = NULL;
}

static void scan_unqueue(struct weir_file_watcher *watcher, struct directory *directory) {
    if (directory->is_scan_queued) {
        directory->is_scan_queued = false;
        DL_DELETE2(watcher->scan_queue, directory, scan_prev, scan_next);
    }
}

static void scan_queue(struct weir_file_watcher *watcher, struct directory *directory) {
    if (!directory->is_scan_queued) {
        directory->is_scan_queued = true;
        DL_APPEND2(watcher->scan_queue, directory, scan_prev, scan_next);
    }
}

// inotify's number is not the directory's any more.
static void unmap(struct weir_file_watcher *watcher, struct directory *directory) {
    if (directory->wd >= 0) {
        HASH_DELETE(hh_wd, watcher->directories_by_wd, directory);
        directory->wd = -1;
    }
    directory->is_unwatched = false;
    watcher->has_idle_directories = true;
}

static void detach(struct weir_file_watcher *watcher, struct directory *directory) {
    if (directory->wd >= 0) {
        inotify_rm_watch(watcher->inotify_fd, directory->wd);
    }
    unmap(watcher, directory);
}

static void release(struct weir_file_watcher *watcher, struct directory *directory) {
    detach(watcher, directory);
    scan_unqueue(watcher, directory);
    if (watcher->scan.directory == directory) {
        scan_end(watcher);
    }
    HASH_DEL(watcher->directories, directory);
    free(directory);
    if (watcher->is_over) {
        watcher->is_over = false;
        weir_file_tree_rescan_within(watcher, ROOM_RESCAN_MS);
    }
}

// Whether nothing needs the struct. The resource's own directory is kept while anybody watches.
static bool is_idle(const struct weir_file_watcher *watcher, const struct directory *directory) {
    if (directory->entries) {
        return false;
    }
    return directory->interest == 0 ||
           (directory->wd < 0 && !directory->is_unwatched && !directory->is_scan_queued &&
            watcher->scan.directory != directory && directory->prefix_size > 0);
}

void weir_file_tree_collect(struct weir_file_watcher *watcher) {
    if (!watcher->has_idle_directories) {
        return;
    }
    watcher->has_idle_directories = false;
    struct directory *directory, *next;
    HASH_ITER (hh, watcher->directories, directory, next) {
        if (is_idle(watcher, directory)) {
            release(watcher, directory);
        }
    }
    watcher->has_idle_directories = false; // what release said of those that it freed
}

// The directory is not there any more: neither are those in it, nor their keys.
static void lose(struct weir_file_watcher *watcher, struct directory *lost) {
    struct directory *directory, *next;
    HASH_ITER (hh, watcher->directories, directory, next) {
        if (weir_str_has_prefix(prefix_of(directory), prefix_of(lost))) {
            detach(watcher, directory);
            weir_file_reconcile_directory(watcher, directory, false);
        }
    }
}

// Logs that inotify does not watch a directory, once.
static void tell_refusal(struct weir_file_watcher *watcher, int code) {
    if (!watcher->is_refusal_told) {
        watcher->is_refusal_told = true;
        weir_file_watcher_log(watcher, WEIR_LOG_WARN,
                              code == ENOSPC
                                  ? "a directory is only compared every few seconds, not watched; "
                                    "raise fs.inotify.max_user_watches"
                                  : "a directory is only compared every few seconds, not watched",
                              strerror(code));
    }
}

// Logs that a directory may not be read, once: one like lost+found must not keep the others from
// being watched, and stays as it is.
static void tell_denial(struct weir_file_watcher *watcher, const struct weir_error *error) {
    if (!watcher->is_denial_told) {
        watcher->is_denial_told = true;
        weir_file_watcher_log(watcher, WEIR_LOG_WARN,
                              "a directory may not be read: its keys are not told", error->message);
    }
}

// Lets inotify watch the open directory. Returns 0, or the errno value of the refusal. *ret_is_new:
// it was not watched under this prefix before.
static int attach(struct weir_file_watcher *watcher, struct directory *directory, int fd,
                  bool was_known, bool *ret_is_new) {
    // By the descriptor: the path could lead elsewhere by now.
    char path[sizeof "/proc/self/fd/" + 3 * sizeof fd];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int wd = inotify_add_watch(watcher->inotify_fd, path, WATCHED_EVENTS);
    int code = errno;
    *ret_is_new = wd < 0 || wd != directory->wd;
    if (!*ret_is_new) {
        return 0;
    }
    bool is_refused_again = wd < 0 && directory->is_unwatched;
    if (was_known && !is_refused_again && !directory->is_recalled) {
        lose(watcher, directory); // what was below the prefix is elsewhere now
    }
    directory->is_recalled = false;
    if (wd < 0) {
        directory->is_unwatched = true;
        return code;
    }
    struct directory *moved;
    HASH_FIND(hh_wd, watcher->directories_by_wd, &wd, sizeof wd, moved);
    if (moved) {
        unmap(watcher, moved);
        lose(watcher, moved);
    }
    directory->wd = wd;
    HASH_ADD(hh_wd, watcher->directories_by_wd, wd, sizeof wd, directory);
    if (!directory->hh_wd.tbl) {
        inotify_rm_watch(watcher->inotify_fd, wd);
        directory->wd = -1;
        directory->is_unwatched = true;
        return ENOMEM;
    }
    return 0;
}

struct entered {
    int fd; // open for reading; the caller closes it
    struct directory *directory;
    bool is_new; // it was not watched before
    int refusal; // why inotify does not watch it, or one on the way to it; 0: it does
};

// Opens the directory `prefix` by its name in the directory parent_fd, and watches it.
static weir_status enter_child(struct weir_file_watcher *watcher, int parent_fd, const char *name,
                               struct weir_str prefix, struct entered *ret_entered,
                               struct weir_error *err) {
    *ret_entered = (struct entered){.fd = -1};
    struct directory *known = find(watcher, prefix);
    int fd = weir_file_open(parent_fd, name, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) {
        char shown[WEIR_SHOW_BYTES];
        bool is_absent = weir_file_is_absence(-fd);
        if (known && is_absent) {
            lose(watcher, known);
        }
        weir_status status = weir_fail_errno(err, -fd, "cannot read \"%s\" in \"%s\"",
                                             weir_show(prefix, shown, sizeof shown), watcher->path);
        return is_absent ? WEIR_NOT_FOUND : status;
    }
    weir_status status = obtain(watcher, prefix, &ret_entered->directory, err);
    if (status) {
        weir_file_close(&fd);
        return status;
    }
    ret_entered->refusal =
        attach(watcher, ret_entered->directory, fd, known != NULL, &ret_entered->is_new);
    ret_entered->fd = fd;
    return WEIR_OK;
}

// Opens the resource's own directory, and watches it.
static weir_status enter_root(struct weir_file_watcher *watcher, struct entered *ret_entered,
                              struct weir_error *err) {
    if (weir_file_tree_root_open(watcher)) {
        return enter_child(watcher, watcher->root_fd, ".", ROOT_PREFIX, ret_entered, err);
    }
    *ret_entered = (struct entered){.fd = -1};
    int code = watcher->root_errno;
    struct directory *known = find(watcher, ROOT_PREFIX);
    if (known && weir_file_is_absence(code)) {
        lose(watcher, known);
    }
    weir_status status = weir_fail_errno(err, code, "cannot open \"%s\"", watcher->path);
    return weir_file_is_absence(code) ? WEIR_NOT_FOUND : status;
}

// Opens a directory and watches it. WEIR_NOT_FOUND: it does not exist, and the table says so. A
// refusal of inotify is no failure.
//
// It goes down from the resource's own directory one name at a time, and sees to it that each
// directory on the way is the one that is watched under its prefix. By the whole path it would find
// what is there at this moment, and between two renames of a directory above that may be what
// belongs elsewhere; the records of the renames then find everything in its place again, but for
// what was entered in between.
static weir_status enter(struct weir_file_watcher *watcher, struct weir_str prefix,
                         struct entered *ret_entered, struct weir_error *err) {
    weir_status status = enter_root(watcher, ret_entered, err);
    for (size_t at = 0; !status && at < prefix.size;) {
        struct entered outer = *ret_entered;
        if (outer.is_new) {
            scan_queue(watcher, outer.directory);
        }
        const char *slash = memchr(prefix.data + at, '/', prefix.size - at);
        size_t end = (size_t)(slash - prefix.data) + 1;
        struct weir_str segment = {.data = prefix.data + at, .size = end - at};
        struct weir_str inner = {.data = prefix.data, .size = end};
        struct weir_file_path name;
        *ret_entered = (struct entered){.fd = -1};
        status = weir_file_folder_encode(segment, &name, err);
        if (status == WEIR_LIMIT) {
            status = WEIR_NOT_FOUND; // no file system has such a name
        }
        if (!status) {
            status = enter_child(watcher, outer.fd, name.text, inner, ret_entered, err);
        }
        if (outer.refusal && !ret_entered->refusal) {
            ret_entered->refusal = outer.refusal;
        }
        weir_file_close(&outer.fd);
        at = end;
    }
    return status;
}

// As enter, where there is nobody to whom a failure could be returned: it is logged, and a rescan
// tries again.
static bool enter_or_log(struct weir_file_watcher *watcher, struct weir_str prefix,
                         struct entered *ret_entered) {
    struct weir_error error = {0};
    weir_status status = enter(watcher, prefix, ret_entered, &error);
    if (status == WEIR_OK) {
        if (ret_entered->refusal) {
            tell_refusal(watcher, ret_entered->refusal);
            weir_file_tree_rescan_within(watcher, REFUSED_RESCAN_MS);
        }
    } else if (status == WEIR_DENIED) {
        tell_denial(watcher, &error);
    } else if (status == WEIR_LIMIT && watcher->is_over) {
        return false; // logged already, and waits for room
    } else if (status != WEIR_NOT_FOUND) {
        weir_file_watcher_log(watcher, WEIR_LOG_WARN, "changes in a directory are told late",
                              error.message);
        weir_file_tree_rescan_within(watcher, REFUSED_RESCAN_MS);
    }
    return status == WEIR_OK;
}

// A directory may have come, gone or been replaced.
static void directory_hint(struct weir_file_watcher *watcher, struct weir_str prefix) {
    if (!find(watcher, prefix) && count_interest(watcher, prefix) == 0) {
        return;
    }
    struct entered entered;
    if (enter_or_log(watcher, prefix, &entered)) {
        weir_file_close(&entered.fd);
        if (entered.is_new) {
            scan_queue(watcher, entered.directory);
        }
    }
}

// ---- the resource's own directory ----

bool weir_file_tree_root_open(struct weir_file_watcher *watcher) {
    if (watcher->root_fd >= 0) {
        return true;
    }
    int fd = weir_file_root_open(watcher->path);
    if (fd < 0) {
        watcher->root_errno = -fd;
        watcher->is_root_doubtful |= watcher->root_state == ROOT_PRESENT;
        return false;
    }
    watcher->root_fd = fd;
    return true;
}

void weir_file_tree_root_release(struct weir_file_watcher *watcher) {
    weir_file_close(&watcher->root_fd);
}

static void root_lost(struct weir_file_watcher *watcher) {
    bool is_missing = weir_file_is_absence(watcher->root_errno);
    enum root_state state = is_missing ? ROOT_MISSING : ROOT_UNREACHABLE;
    if (state != watcher->root_state) {
        weir_file_watcher_log(
            watcher, WEIR_LOG_WARN,
            is_missing ? "the directory is gone: its keys are told as deleted, until it is back"
                       : "the directory cannot be opened: changes are told when it can",
            strerror(watcher->root_errno));
        struct directory *root = find(watcher, ROOT_PREFIX);
        if (is_missing && root) {
            lose(watcher, root);
        }
    }
    watcher->root_state = state;
    watcher->root_due_ns = weir_clock_monotonic_ns() + ROOT_RETRY_MS * WEIR_NS_PER_MS;
}

void weir_file_tree_root_check(struct weir_file_watcher *watcher) {
    enum root_state before = watcher->root_state;
    bool was_open = watcher->root_fd >= 0;
    weir_file_tree_root_release(watcher); // the path may lead elsewhere by now
    struct stat st;
    bool is_there = weir_file_tree_root_open(watcher);
    if (is_there && fstat(watcher->root_fd, &st) < 0) {
        watcher->root_errno = errno;
        is_there = false;
    }
    watcher->is_root_doubtful = false;
    if (!is_there) {
        root_lost(watcher);
        return;
    }
    watcher->root_due_ns = weir_clock_monotonic_ns() + ROOT_CHECK_MS * WEIR_NS_PER_MS;
    struct directory *root = find(watcher, ROOT_PREFIX);
    bool is_watched = root && (root->wd >= 0 || root->is_unwatched);
    bool is_same = st.st_dev == watcher->root_dev && st.st_ino == watcher->root_ino;
    watcher->root_state = ROOT_PRESENT;
    watcher->root_dev = st.st_dev;
    watcher->root_ino = st.st_ino;
    if (before == ROOT_UNKNOWN || (before == ROOT_PRESENT && is_same && is_watched)) {
        if (!was_open) {
            weir_file_tree_root_release(
                watcher); // nothing else needs it, and the thread may sleep on
        }
        return;
    }
    weir_file_watcher_log(watcher, WEIR_LOG_INFO,
                          before == ROOT_PRESENT ? "the directory was replaced: comparing all keys"
                                                 : "the directory is back: comparing all keys",
                          NULL);
    struct directory *directory, *next;
    HASH_ITER (hh, watcher->directories, directory, next) {
        detach(watcher, directory);
        // Not freed before the rescan has looked: it may be there again.
        scan_queue(watcher, directory);
    }
    weir_file_tree_rescan(watcher);
}

// ---- records ----

static struct weir_str record_name(const struct inotify_event *record) {
    return weir_str_of(record->len ? record->name : "");
}

// Room for a directory's prefix, a decoded name and a '/'.
struct key_buffer {
    size_t size;
    char text[WEIR_FILE_PATH_BYTES + WEIR_FILE_NAME_BYTES_MAX + 1];
};

// The key of a file in a directory. False: the name is none that a key has.
static bool key_of(const struct directory *directory, struct weir_str name,
                   struct key_buffer *ret_key) {
    size_t size;
    if (!weir_file_name_decode(name, ret_key->text + directory->prefix_size, &size)) {
        return false;
    }
    memcpy(ret_key->text, directory->prefix, directory->prefix_size);
    ret_key->size = directory->prefix_size + size;
    return true;
}

static void take_named(struct weir_file_watcher *watcher, struct directory *directory,
                       const struct inotify_event *record) {
    struct key_buffer key;
    if (!key_of(directory, record_name(record), &key)) {
        return;
    }
    if (record->mask & IN_ISDIR) {
        key.text[key.size++] = '/';
        directory_hint(watcher, (struct weir_str){.data = key.text, .size = key.size});
        return;
    }
    weir_file_reconcile_key(watcher, directory,
                            (struct weir_str){.data = key.text, .size = key.size},
                            record->mask & IN_CREATE ? HINT_CREATED : HINT_CHANGED);
}

static void take_record(struct weir_file_watcher *watcher, const struct inotify_event *record) {
    if (record->mask & IN_Q_OVERFLOW) {
        if (!watcher->is_rescan_wanted) {
            weir_file_watcher_log(watcher, WEIR_LOG_WARN,
                                  "inotify's queue was full and lost records: comparing all keys",
                                  NULL);
        }
        weir_file_tree_rescan(watcher);
        return;
    }
    struct directory *directory;
    HASH_FIND(hh_wd, watcher->directories_by_wd, &record->wd, sizeof record->wd, directory);
    if (!directory) {
        return; // of a watch that was given back meanwhile
    }
    if (record->len > 0) {
        take_named(watcher, directory, record);
        return;
    }
    if (record->mask & (IN_IGNORED | IN_UNMOUNT)) {
        unmap(watcher, directory);
    }
    if (directory->prefix_size == 0) {
        watcher->is_root_doubtful = true;
    } else {
        directory_hint(watcher, prefix_of(directory));
    }
}

// Whether the next record says all that this one does: what it leads to is a look at the same file.
static bool is_covered(const struct inotify_event *record, const struct inotify_event *next) {
    return record->wd == next->wd && record->len > 0 && next->len > 0 &&
           !((record->mask | next->mask) & IN_ISDIR) && strcmp(record->name, next->name) == 0;
}

static void take_batch(struct weir_file_watcher *watcher, size_t size) {
    const struct inotify_event *record = NULL;
    for (size_t at = 0; at < size && !atomic_load(&watcher->is_stopping);) {
        const struct inotify_event *next = (const void *)(watcher->records + at);
        at += sizeof *next + next->len;
        if (record && !is_covered(record, next)) {
            take_record(watcher, record);
        }
        record = next;
    }
    if (record) {
        take_record(watcher, record);
    }
}

void weir_file_tree_take_records(struct weir_file_watcher *watcher) {
    const size_t longest = sizeof(struct inotify_event) + NAME_MAX + 1;
    for (int reads = 0; reads < READS_MAX; reads++) {
        ssize_t got = read(watcher->inotify_fd, watcher->records, sizeof watcher->records);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) { // EAGAIN: there are none
            return;
        }
        take_batch(watcher, (size_t)got);
        if ((size_t)got < sizeof watcher->records - longest) {
            return; // it was not full, so these were all
        }
    }
}

// ---- scans ----

// A temporary file of a set that never ended takes room for nothing.
static void remove_leftover(int fd, const char *name) {
    struct stat st;
    int64_t oldest_s = weir_clock_wall_ns() / WEIR_NS_PER_S - TEMP_AGE_MAX_S;
    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
        st.st_mtim.tv_sec < oldest_s) {
        unlinkat(fd, name, 0);
    }
}

// What a name in a directory is, as far as keys go.
enum found { FOUND_NOTHING, FOUND_FILE, FOUND_DIRECTORY };

// Reads what a scanned name is. FOUND_FILE: *ret_key is a key that somebody watches, with its
// stamp. FOUND_DIRECTORY: *ret_key is its prefix.
static enum found examine(struct weir_file_watcher *watcher, const struct directory *directory,
                          int fd, const struct dirent *name, struct key_buffer *ret_key,
                          struct weir_file_stamp *ret_stamp) {
    if (name->d_name[0] == '.') {
        if (strncmp(name->d_name, WEIR_FILE_TEMP_PREFIX, sizeof WEIR_FILE_TEMP_PREFIX - 1) == 0) {
            remove_leftover(fd, name->d_name);
        }
        return FOUND_NOTHING;
    }
    if (!key_of(directory, weir_str_of(name->d_name), ret_key)) {
        weir_file_watcher_log(watcher, WEIR_LOG_DEBUG, "a file's name is not that of a key",
                              name->d_name);
        return FOUND_NOTHING;
    }
    struct weir_str key = {.data = ret_key->text, .size = ret_key->size};
    bool may_be_file = name->d_type == DT_REG || name->d_type == DT_UNKNOWN;
    if (may_be_file && name->d_type != DT_UNKNOWN && !weir_file_match_first(watcher, key).watch) {
        return FOUND_NOTHING;
    }
    mode_t mode = name->d_type == DT_DIR ? S_IFDIR : 0;
    if (may_be_file) {
        struct stat st;
        if (fstatat(fd, name->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
            return FOUND_NOTHING; // removed meanwhile: there is a record of it, or the scan's end
                                  // finds out
        }
        *ret_stamp = weir_file_stamp_of(&st);
        mode = st.st_mode;
    }
    if (S_ISDIR(mode)) {
        ret_key->text[ret_key->size++] = '/';
        return FOUND_DIRECTORY;
    }
    return S_ISREG(mode) ? FOUND_FILE : FOUND_NOTHING;
}

// Opens the next directory to scan. False: none is left.
static bool scan_begin(struct weir_file_watcher *watcher) {
    for (int tries = 0; tries < SCAN_SLICE_NAMES && watcher->scan_queue; tries++) {
        struct directory *directory = watcher->scan_queue;
        scan_unqueue(watcher, directory);
        watcher->has_idle_directories = true; // if it is not there
        struct entered entered;
        if (!enter_or_log(watcher, prefix_of(directory), &entered)) {
            continue;
        }
        watcher->scan.dir = fdopendir(entered.fd);
        if (!watcher->scan.dir) {
            weir_file_close(&entered.fd);
            weir_file_tree_rescan_within(watcher, REFUSED_RESCAN_MS);
            continue;
        }
        watcher->scan.directory = directory;
        directory->scan_number++;
        return true;
    }
    return false;
}

// Handles the next name of the scan. False: there is none.
static bool scan_step(struct weir_file_watcher *watcher) {
    errno = 0;
    const struct dirent *name = readdir(watcher->scan.dir);
    if (!name) {
        if (errno) {
            weir_file_tree_rescan_within(watcher, REFUSED_RESCAN_MS);
        } else {
            weir_file_reconcile_directory(watcher, watcher->scan.directory, true);
        }
        return false;
    }
    struct key_buffer buffer;
    struct weir_file_stamp stamp;
    enum found found =
        examine(watcher, watcher->scan.directory, dirfd(watcher->scan.dir), name, &buffer, &stamp);
    struct weir_str key = {.data = buffer.text, .size = buffer.size};
    if (found == FOUND_FILE) {
        weir_file_reconcile_scanned(watcher, watcher->scan.directory, key, &stamp);
    } else if (found == FOUND_DIRECTORY) {
        const struct directory *known = find(watcher, key);
        if (!known || known->wd < 0) { // else a scan of its own looks after it
            directory_hint(watcher, key);
        }
    }
    return true;
}

static bool has_unwatched(const struct weir_file_watcher *watcher) {
    for (const struct directory *directory = watcher->directories; directory;
         directory = directory->hh.next) {
        if (directory->is_unwatched) {
            return true;
        }
    }
    return false;
}

static void rescan_end(struct weir_file_watcher *watcher) {
    int64_t now_ns = weir_clock_monotonic_ns();
    int64_t took_ns = now_ns - watcher->rescan_began_ns;
    int64_t pause_ns = took_ns * RESCAN_PAUSE_FACTOR;
    watcher->is_rescanning = false;
    if (watcher->rescan_ns > 0) {
        weir_file_tree_rescan_within(
            watcher,
            (pause_ns > watcher->rescan_ns ? pause_ns : watcher->rescan_ns) / WEIR_NS_PER_MS);
    }
    if (has_unwatched(watcher)) {
        weir_file_tree_rescan_within(watcher, REFUSED_RESCAN_MS + took_ns / WEIR_NS_PER_MS);
    }
    if (watcher->is_rescan_wanted) {
        watcher->is_rescan_wanted = false;
        weir_file_tree_rescan(watcher);
    }
}

bool weir_file_tree_scan(struct weir_file_watcher *watcher) {
    for (int names = 0; names < SCAN_SLICE_NAMES; names++) {
        if (!watcher->scan.directory && !scan_begin(watcher)) {
            if (watcher->is_rescanning) {
                rescan_end(watcher);
            }
            return watcher->scan_queue != NULL;
        }
        if (!scan_step(watcher)) {
            scan_end(watcher);
        }
    }
    return true;
}

void weir_file_tree_rescan(struct weir_file_watcher *watcher) {
    if (watcher->is_rescanning) {
        watcher->is_rescan_wanted = true;
        return;
    }
    watcher->is_rescanning = true;
    watcher->rescan_began_ns = weir_clock_monotonic_ns();
    watcher->rescan_due_ns = INT64_MAX;
    struct directory *directory, *next;
    HASH_ITER (hh, watcher->directories, directory, next) {
        scan_queue(watcher, directory);
    }
}

void weir_file_tree_rescan_within(struct weir_file_watcher *watcher, int64_t delay_ms) {
    int64_t due_ns = weir_clock_monotonic_ns() + delay_ms * WEIR_NS_PER_MS;
    watcher->rescan_due_ns = due_ns < watcher->rescan_due_ns ? due_ns : watcher->rescan_due_ns;
}

// ---- the beginning and the end of a watch ----

// Notes what one directory holds for the watch, and appends its sub-directories to the list that
// ends in *tail.
static weir_status baseline_directory(struct weir_file_watcher *watcher, struct watch *watch,
                                      struct directory *directory, DIR *dir,
                                      struct directory **tail, struct weir_error *err) {
    while (!atomic_load(&watcher->is_stopping)) {
        errno = 0;
        const struct dirent *name = readdir(dir);
        if (!name) {
            return errno ? weir_fail_errno(err, errno, "cannot read a directory in \"%s\"",
                                           watcher->path)
                         : WEIR_OK;
        }
        struct key_buffer buffer;
        struct weir_file_stamp stamp;
        enum found found = examine(watcher, directory, dirfd(dir), name, &buffer, &stamp);
        struct weir_str key = {.data = buffer.text, .size = buffer.size};
        weir_status status = WEIR_OK;
        if (found == FOUND_FILE && weir_pattern_matches(&watch->pattern, key)) {
            status = weir_file_reconcile_baseline(watcher, watch, directory, key, &stamp, err);
        } else if (found == FOUND_DIRECTORY && weir_file_watch_wants_directory(watch, key)) {
            struct directory *inner;
            status = obtain(watcher, key, &inner, err);
            if (!status &&
                inner->baseline_number != watcher->baseline_number) { // readdir may repeat itself
                inner->baseline_number = watcher->baseline_number;
                inner->baseline_next = NULL;
                (*tail)->baseline_next = inner;
                *tail = inner;
            }
        }
        if (status) {
            return status;
        }
    }
    return weir_fail(err, WEIR_STOPPED, "the resource is being closed");
}

static weir_status fail_refusal(const struct weir_file_watcher *watcher, int code,
                                struct weir_error *err) {
    return weir_fail_errno(err, code,
                           code == ENOSPC ? "cannot watch \"%s\"; raise fs.inotify.max_user_watches"
                           : code == ENOENT ? "cannot watch \"%s\"; is /proc mounted"
                                            : "cannot watch \"%s\"",
                           watcher->path);
}

// As enter, for a new watch: a refusal of inotify is a failure.
static weir_status enter_watched(struct weir_file_watcher *watcher, struct weir_str prefix,
                                 struct entered *ret_entered, struct weir_error *err) {
    weir_status status = enter(watcher, prefix, ret_entered, err);
    if (!status && ret_entered->refusal) {
        weir_file_close(&ret_entered->fd);
        status = fail_refusal(watcher, ret_entered->refusal, err);
    }
    return status;
}

// Watches and notes everything below a directory.
static weir_status baseline_below(struct weir_file_watcher *watcher, struct watch *watch,
                                  struct directory *top, struct weir_error *err) {
    struct directory *tail = top;
    top->baseline_next = NULL;
    top->baseline_number = ++watcher->baseline_number;
    for (struct directory *directory = top; directory; directory = directory->baseline_next) {
        struct entered entered;
        struct weir_error error;
        weir_status status = enter_watched(watcher, prefix_of(directory), &entered, &error);
        if (status == WEIR_DENIED && directory != top) {
            tell_denial(watcher, &error);
            continue;
        }
        if (status == WEIR_NOT_FOUND) {
            continue; // removed meanwhile
        }
        if (status) {
            return weir_fail(err, status, "%s", error.message);
        }
        DIR *dir = fdopendir(entered.fd);
        if (!dir) {
            status =
                weir_fail_errno(err, errno, "cannot read a directory in \"%s\"", watcher->path);
            weir_file_close(&entered.fd);
            return status;
        }
        status = baseline_directory(watcher, watch, directory, dir, &tail, err);
        closedir(dir);
        if (status) {
            return status;
        }
    }
    return WEIR_OK;
}

static weir_status baseline_file(struct weir_file_watcher *watcher, struct watch *watch,
                                 struct directory *directory, int fd, struct weir_error *err) {
    struct weir_file_path path;
    struct stat st;
    weir_status status = weir_file_key_encode(watch->pattern.text, &path, err);
    if (status) {
        return status;
    }
    if (fstatat(fd, path.text + path.name_at, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        int code = errno;
        return weir_file_is_absence(code)
                   ? WEIR_OK
                   : weir_fail_errno(err, code, "cannot watch a key in \"%s\"", watcher->path);
    }
    if (!S_ISREG(st.st_mode)) {
        return WEIR_OK;
    }
    struct weir_file_stamp stamp = weir_file_stamp_of(&st);
    return weir_file_reconcile_baseline(watcher, watch, directory, watch->pattern.text, &stamp,
                                        err);
}

// Goes down the directories that the pattern names, as far as they exist, and notes what is there.
static weir_status baseline_walk(struct weir_file_watcher *watcher, struct watch *watch,
                                 struct weir_error *err) {
    struct weir_str text = watch->pattern.text;
    for (size_t prefix_size = 0;;) { // ends: grows with each turn
        struct entered entered;
        weir_status status = enter_watched(
            watcher, (struct weir_str){.data = text.data, .size = prefix_size}, &entered, err);
        if (status) {
            return status == WEIR_NOT_FOUND ? WEIR_OK : status; // it is watched for in its parent
        }
        WEIR_FILE_AUTO_CLOSE int fd = entered.fd;
        const char *slash = prefix_size < text.size
                                ? memchr(text.data + prefix_size, '/', text.size - prefix_size)
                                : NULL;
        if (slash) {
            prefix_size = (size_t)(slash - text.data) + 1;
        } else if (watch->pattern.is_prefix) {
            return baseline_below(watcher, watch, entered.directory, err);
        } else {
            return baseline_file(watcher, watch, entered.directory, fd, err);
        }
    }
}

// Takes over what a watch was told before the stop. A directory that a key was in may be gone; its
// struct is there for as long as the key is not told as deleted.
static weir_status recall(struct weir_file_watcher *watcher, struct watch *watch,
                          struct weir_error *err) {
    struct weir_str key;
    struct weir_file_told told;
    weir_status status = WEIR_OK;
    for (size_t at = 0; !status && weir_file_notes_next(&watch->notes, &at, &key, &told);) {
        struct weir_str prefix = weir_file_folder_of(key);
        struct directory *directory;
        bool is_new = !find(watcher, prefix);
        status = obtain(watcher, prefix, &directory, err);
        if (!status) {
            directory->is_recalled |= is_new;
            status = weir_file_reconcile_recall(watcher, watch, directory, key, &told, err);
        }
    }
    weir_file_notes_finish(&watch->notes);
    return status;
}

weir_status weir_file_tree_baseline(struct weir_file_watcher *watcher, struct watch *watch,
                                    struct weir_error *err) {
    // The struct of the resource's own directory is there as long as a watch is, also while the
    // directory is not.
    struct directory *root;
    weir_status status = obtain(watcher, ROOT_PREFIX, &root, err);
    if (status) {
        return status;
    }
    status = recall(watcher, watch, err);
    if (status) {
        return status;
    }
    weir_file_tree_root_check(watcher);
    if (watcher->root_state == ROOT_UNREACHABLE) {
        return weir_fail_errno(err, watcher->root_errno, "cannot watch \"%s\"", watcher->path);
    }
    status = baseline_walk(watcher, watch, err);
    if (!status && watcher->rescan_ns > 0) {
        weir_file_tree_rescan_within(watcher, watcher->rescan_ns / WEIR_NS_PER_MS);
    }
    return status;
}

void weir_file_tree_want(struct weir_file_watcher *watcher, const struct watch *watch) {
    struct directory *directory, *next;
    HASH_ITER (hh, watcher->directories, directory, next) {
        directory->interest += weir_file_watch_wants_directory(watch, prefix_of(directory));
    }
}

void weir_file_tree_unwant(struct weir_file_watcher *watcher, const struct watch *watch) {
    struct directory *directory, *next;
    HASH_ITER (hh, watcher->directories, directory, next) {
        directory->interest -= weir_file_watch_wants_directory(watch, prefix_of(directory));
        if (directory->interest == 0) {
            release(watcher, directory);
        }
    }
    if (!watcher->watches) {
        weir_file_tree_root_release(watcher);
        watcher->root_state = ROOT_UNKNOWN;
        watcher->is_root_doubtful = false;
        watcher->is_over = false;
        watcher->is_rescanning = false;
        watcher->is_rescan_wanted = false;
        watcher->rescan_due_ns = INT64_MAX;
    }
}

void weir_file_tree_finish(struct weir_file_watcher *watcher) {
    struct directory *directory, *next;
    HASH_ITER (hh, watcher->directories, directory, next) {
        release(watcher, directory);
    }
    scan_end(watcher);
    weir_file_tree_root_release(watcher);
}

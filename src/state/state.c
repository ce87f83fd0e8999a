// SPDX-License-Identifier: Apache-2.0
//
// Opening and closing the state database, and what happens when the disk fails under it.
//
// What is looked at when it is opened, so that a wrong cursor is never used in silence:
// - Which files there are. SQLite removes a WAL whose database is empty, and ignores one whose
//   database is new; so a WAL without a database is refused before SQLite sees it.
// - The header, and where the file is small, SQLite's own check of its structure: it finds rows
// that
//   are gone. A large file would take seconds; there it is `weir state check` that looks.
// - Every row of the small tables. The large ones are checked as they are read.
// - That no commit is missing which was durable once; see mark.c. Then a commit is made, so that
//   each opening can be told from the one before, and a disk that cannot be written is found now.
//
// After an error of the disk a connection is given up, and a new one has to prove itself before the
// next commit: the tables are weir's, the number of commits is the one that is expected. The number
// may be one more where a COMMIT had failed: the frames were written, then the sync failed, and the
// new connection found them. They may be in the page cache only, and Linux tells of a failed sync
// once: the next one succeeds over pages that were never written. So the WAL is brought into the
// database, which writes everything once more, and begins anew, before weir says of any commit
// behind it that it is durable. (A commit that is repeated on the same connection writes its frames
// again by itself.)
//
// Threads: see state.h. The lock is held over each call; load_notes does not take it.
#include "state/state.h"

#include "observe/log.h"
#include "state/schema.h"
#include "state/state_private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    // A larger file is not looked through as a whole when it is opened.
    QUICK_CHECK_BYTES_MAX = 64 << 20,
    // Of the WAL: what is gathered before it is written into the database. With 1000, SQLite's own
    // choice, batches of 256 rows cost a tenth to a third more on ext4, because the same pages are
    // written more often; 16000 gained nothing that stood out.
    CHECKPOINT_PAGES = 4000,
    CHECKPOINT_AGAIN_PAGES = 1000, // further pages after which it is tried again
    WAL_PAGES_WARN = 64 * CHECKPOINT_PAGES / 4,
};

static const char advice_lost[] =
    "bring the whole folder back from a backup, or move it aside to start anew from what changes "
    "from then on, which loses what was waiting";

const struct weir_store weir_state_store = {
    .commit = weir_state_commit,
    .load_journal = weir_state_load_journal,
    .load_subscriptions = weir_state_load_subscriptions,
    .load_notes = weir_state_load_notes,
    .load_outbox = weir_state_load_outbox,
    .load_dead = weir_state_load_dead,
    .last_ids = weir_state_last_ids,
};

// ---- files ----

// As weir_fail_errno, for what somebody can put right: no folder, no right, no space.
static weir_status fail_unavailable(int code, struct weir_error *err, const char *what,
                                    const char *path) {
    weir_fail_errno(err, code, "cannot %s %s", what, path);
    if (err) {
        err->status = WEIR_UNAVAILABLE;
    }
    return WEIR_UNAVAILABLE;
}

static void sync_directory(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd); // where the file system cannot, it has its own way to keep names
        close(fd);
    }
}

static weir_status make_directory(const char *dir, struct weir_error *err) {
    if (mkdir(dir, 0700) < 0) {
        return errno == EEXIST ? WEIR_OK : fail_unavailable(errno, err, "make the folder", dir);
    }
    // Whatever the umask is, its owner has to be able to use it.
    if (chmod(dir, 0700) < 0) {
        return fail_unavailable(errno, err, "set the mode of", dir);
    }
    char *real = realpath(dir, NULL);
    char *end = real ? strrchr(real, '/') : NULL;
    if (end) {
        end[end == real ? 1 : 0] = '\0';
        sync_directory(real);
    }
    free(real);
    return WEIR_OK;
}

// An empty one; SQLite would make it readable for others.
static weir_status make_database(const struct weir_state_paths *paths, struct weir_error *err) {
    int fd = open(paths->database, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return fail_unavailable(errno, err, "make", paths->database);
    }
    int code = fchmod(fd, 0600) < 0 || fsync(fd) < 0 ? errno : 0;
    close(fd);
    if (code != 0) {
        return fail_unavailable(code, err, "make", paths->database);
    }
    char dir[WEIR_STATE_PATH_BYTES];
    snprintf(dir, sizeof dir, "%s", paths->database);
    char *end = strrchr(dir, '/');
    end[end == dir ? 1 : 0] = '\0';
    sync_directory(dir);
    return WEIR_OK;
}

weir_status weir_state_find(const char *dir, struct weir_state_paths *ret_paths,
                            struct weir_error *err) {
    struct stat st;
    if (stat(dir, &st) < 0) {
        return weir_fail_errno(err, errno, "cannot use the folder %s", dir);
    }
    if (!S_ISDIR(st.st_mode)) {
        return weir_fail(err, WEIR_INVALID, "%s is not a folder: name one for the state", dir);
    }
    char *real = realpath(dir, NULL);
    if (!real) {
        return weir_fail_errno(err, errno, "cannot use the folder %s", dir);
    }
    enum { SUFFIX_BYTES_MAX = 8 }; // "-journal"
    const char *slash = strcmp(real, "/") == 0 ? "" : "/";
    int length =
        snprintf(ret_paths->database, sizeof ret_paths->database, "%s%sstate.db", real, slash);
    weir_status status = WEIR_OK;
    if (length < 0 || length + SUFFIX_BYTES_MAX >= WEIR_STATE_PATH_BYTES) {
        status = weir_fail(
            err, WEIR_INVALID,
            "the state's folder has a path of %zu bytes, and SQLite takes at most "
            "%d: name another folder: %s",
            strlen(real), WEIR_STATE_PATH_BYTES - SUFFIX_BYTES_MAX - (int)sizeof "/state.db", real);
    } else {
        snprintf(ret_paths->wal, sizeof ret_paths->wal, "%s%sstate.db-wal", real, slash);
        snprintf(ret_paths->lock, sizeof ret_paths->lock, "%s%sstate.lock", real, slash);
    }
    free(real);
    return status;
}

// *ret_bytes: -1 where there is none.
static weir_status file_bytes(const char *path, int64_t *ret_bytes, struct weir_error *err) {
    struct stat st;
    *ret_bytes = -1;
    if (stat(path, &st) < 0) {
        return errno == ENOENT ? WEIR_OK : fail_unavailable(errno, err, "look at", path);
    }
    if (!S_ISREG(st.st_mode)) {
        return weir_fail(err, WEIR_OTHER, "%s is not a file: move it aside", path);
    }
    *ret_bytes = st.st_size;
    return WEIR_OK;
}

weir_status weir_state_look(const struct weir_state_paths *paths,
                            struct weir_state_survey *ret_survey, struct weir_error *err) {
    int64_t database = 0, wal = 0;
    weir_status status = file_bytes(paths->database, &database, err);
    if (status == WEIR_OK) {
        status = file_bytes(paths->wal, &wal, err);
    }
    if (status == WEIR_OK && database <= 0 && wal > 0) {
        status = weir_fail(err, WEIR_OTHER, "%s %s, but there is its %s, with commits: %s",
                           paths->database, database < 0 ? "is not there" : "is empty", paths->wal,
                           advice_lost);
    }
    *ret_survey = (struct weir_state_survey){
        .has_database = database >= 0,
        .database_bytes = database > 0 ? (uint64_t)database : 0,
        .wal_bytes = wal > 0 ? (uint64_t)wal : 0,
    };
    return status;
}

// ---- what is in the database ----

weir_status weir_state_read_number(struct weir_connection *connection, uint64_t *ret_number,
                                   struct weir_error *err) {
    struct weir_cell cells[WEIR_CELLS_MAX];
    sqlite3_stmt *statement;
    bool is_row, has_number = false;
    weir_status status = weir_connection_statement(connection, WEIR_SQL_LOAD_META, &statement, err);
    if (status != WEIR_OK) {
        return status;
    }
    do { // ends with the table
        status = weir_connection_next(connection, statement, WEIR_TABLE_META, cells, &is_row, err);
        if (is_row && weir_str_equal(cells[WEIR_META_NAME].bytes, WEIR_STR("commit"))) {
            *ret_number = (uint64_t)cells[WEIR_META_VALUE].integer;
            has_number = true;
        }
    } while (is_row);
    if (status == WEIR_OK && !has_number) {
        status = weir_fail(err, WEIR_OTHER, "%s is damaged: table meta has no row \"commit\": %s",
                           connection->path, advice_lost);
    }
    return status;
}

static weir_status check_subscriptions(struct weir_connection *connection, struct weir_error *err) {
    struct weir_cell cells[WEIR_CELLS_MAX];
    sqlite3_stmt *statement;
    bool is_row;
    weir_status status =
        weir_connection_statement(connection, WEIR_SQL_LOAD_SUBSCRIPTIONS, &statement, err);
    if (status != WEIR_OK) {
        return status;
    }
    do { // ends with the table
        status = weir_connection_next(connection, statement, WEIR_TABLE_SUBSCRIPTION, cells,
                                      &is_row, err);
    } while (is_row);
    return status;
}

weir_status weir_state_compare(const struct weir_state_paths *paths, uint64_t number,
                               uint64_t marked, struct weir_error *err) {
    if (number >= marked) {
        return WEIR_OK;
    }
    return weir_fail(err, WEIR_OTHER,
                     "%s ends at commit %" PRIu64 ", and %" PRIu64 " were durable: %" PRIu64
                     " are missing, its WAL was lost, cut or damaged: %s; to use it as it is, "
                     "without what is missing, remove %s",
                     paths->database, number, marked, marked - number, advice_lost, paths->lock);
}

// Whether the disk gives all of the file. Not by opening it once more: closing that would undo the
// locks that SQLite has on it.
static int read_through(struct weir_connection *connection) {
    enum { PIECE_BYTES = 4096 };
    char piece[PIECE_BYTES];
    sqlite3_file *file = NULL;
    sqlite3_int64 size = 0;
    int code =
        sqlite3_file_control(connection->db, "main", SQLITE_FCNTL_FILE_POINTER, (void *)&file);
    if (code == SQLITE_OK) {
        code = file->pMethods->xFileSize(file, &size);
    }
    for (sqlite3_int64 at = 0; code == SQLITE_OK && at + PIECE_BYTES <= size; at += PIECE_BYTES) {
        code = file->pMethods->xRead(file, piece, PIECE_BYTES, at);
    }
    return code;
}

// SQLite's check calls a page damaged that could not be read, so a bad finding is looked into: the
// advice that follows from damage must not be given for a disk that did not answer once.
static weir_status check_structure(struct weir_connection *connection, struct weir_error *err) {
    enum { TRIES = 2 };
    char text[256] = "";
    for (int tries = 0; tries < TRIES; tries++) {
        int64_t number;
        weir_status status = weir_connection_ask(connection, "PRAGMA quick_check(1)", &number, text,
                                                 sizeof text, err);
        if (status != WEIR_OK || strcmp(text, "ok") == 0) {
            return status;
        }
        int code = read_through(connection);
        if (code != SQLITE_OK) {
            return weir_connection_fail(connection, code, "read", err);
        }
    }
    return weir_fail(err, WEIR_OTHER, "%s is damaged: %s: %s", connection->path, text, advice_lost);
}

// Everything that is looked at before the database is used, but for the number. A file without
// tables has version 0 and number 0.
static weir_status verify(struct weir_connection *connection, uint64_t bytes, int *ret_version,
                          uint64_t *ret_number, struct weir_error *err) {
    *ret_number = 0;
    weir_status status = weir_schema_read(connection, ret_version, err);
    if (status != WEIR_OK || *ret_version == 0) {
        return status;
    }
    if (bytes <= QUICK_CHECK_BYTES_MAX) {
        status = check_structure(connection, err);
    }
    if (status == WEIR_OK) {
        status = weir_state_read_number(connection, ret_number, err);
    }
    return status == WEIR_OK ? check_subscriptions(connection, err) : status;
}

// Ids are never given twice while weir runs, also where the rows are gone.
static weir_status find_last_id(struct weir_connection *connection, enum weir_statement which,
                                enum weir_table table, uint64_t *ret_id, struct weir_error *err) {
    struct weir_cell cells[WEIR_CELLS_MAX];
    sqlite3_stmt *statement;
    bool is_row;
    *ret_id = 0;
    weir_status status = weir_connection_statement(connection, which, &statement, err);
    if (status == WEIR_OK) {
        status = weir_connection_next(connection, statement, table, cells, &is_row, err);
        if (is_row) {
            *ret_id = (uint64_t)cells[0].integer;
            sqlite3_reset(statement);
        }
    }
    return status;
}

static weir_status find_last_ids(struct weir_state *state, struct weir_error *err) {
    weir_status status = find_last_id(&state->connection, WEIR_SQL_LAST_OUTBOX, WEIR_TABLE_OUTBOX,
                                      &state->last_outbox_id, err);
    return status == WEIR_OK ? find_last_id(&state->connection, WEIR_SQL_LAST_DEAD, WEIR_TABLE_DEAD,
                                            &state->last_dead_id, err)
                             : status;
}

// ---- opening ----

static weir_status create(bool is_reader, struct weir_log *log, struct weir_state **ret_state,
                          struct weir_error *err) {
    struct weir_state *state = calloc(1, sizeof *state);
    if (!state) {
        return weir_fail_no_memory(err, "the state database");
    }
    state->log = log;
    state->is_reader = is_reader;
    state->mark.fd = -1;
    state->checkpoint_pages = CHECKPOINT_PAGES;
    pthread_mutex_init(&state->lock, NULL);
    *ret_state = state;
    return WEIR_OK;
}

static weir_status set_wal_mode(struct weir_connection *connection, struct weir_error *err) {
    int64_t number = 0;
    char mode[16] = "";
    weir_status status = weir_connection_ask(connection, "PRAGMA journal_mode = WAL", &number, mode,
                                             sizeof mode, err);
    if (status == WEIR_OK && strcmp(mode, "wal") != 0) {
        status = weir_fail(err, WEIR_UNAVAILABLE,
                           "%s cannot have a WAL, its file system shares no memory between "
                           "processes: put the folder on another one",
                           connection->path);
    }
    return status;
}

static weir_status migrate(struct weir_state *state, const void *context, struct weir_error *err) {
    int version = *(const int *)context;
    weir_status status = weir_schema_migrate(&state->connection, version, err);
    if (status != WEIR_OK || version > 0) {
        return status;
    }
    sqlite3_stmt *statement;
    status = weir_connection_statement(&state->connection, WEIR_SQL_NUMBER_WRITE, &statement, err);
    if (status == WEIR_OK) {
        const struct weir_cell cells[WEIR_META_CELLS] = {
            [WEIR_META_NAME] = weir_cell_text(WEIR_STR("commit")),
            [WEIR_META_VALUE] = weir_cell_integer(0),
        };
        int code = weir_row_bind(statement, WEIR_TABLE_META, cells);
        status = weir_connection_run(&state->connection, statement, code, err);
    }
    return status;
}

static void tell_about_mark(struct weir_state *state, const struct weir_mark_value *marked,
                            int version) {
    struct weir_str file = weir_str_of(state->paths.lock);
    if (marked->number == 0 && version > 0) {
        weir_log(state->log, WEIR_LOG_WARN,
                 "the number of the last commit is not known, so nobody can tell whether some are "
                 "missing; that is well where the folder was brought back from a backup",
                 {"path", file});
    } else if (marked->number > 0 && !marked->is_closed_in_order) {
        weir_log(state->log, WEIR_LOG_INFO, "the state database was not closed in order",
                 {"path", file});
    }
}

static weir_status open_to_write(struct weir_state *state, struct weir_error *err) {
    struct weir_state_survey survey;
    struct weir_mark_value marked = state->mark.last;
    weir_status status = weir_state_look(&state->paths, &survey, err);
    if (status == WEIR_OK && survey.database_bytes == 0) {
        status = weir_state_compare(&state->paths, 0, marked.number, err);
    }
    if (status == WEIR_OK && !survey.has_database) {
        status = make_database(&state->paths, err);
    }
    if (status == WEIR_OK) {
        status = weir_connection_open(&state->connection, state->paths.database,
                                      WEIR_CONNECTION_WRITE, err);
    }
    int version = 0;
    if (status == WEIR_OK) {
        status = verify(&state->connection, survey.database_bytes + survey.wal_bytes, &version,
                        &state->number, err);
    }
    if (status == WEIR_OK) {
        status = weir_state_compare(&state->paths, state->number, marked.number, err);
    }
    if (status == WEIR_OK) {
        status = set_wal_mode(&state->connection, err);
    }
    if (status == WEIR_OK) {
        tell_about_mark(state, &marked, version);
        status = weir_state_transaction(state, migrate, &version, err);
    }
    if (status == WEIR_OK) {
        weir_connection_trust(&state->connection);
        status = find_last_ids(state, err);
    }
    return status;
}

weir_status weir_state_open(const char *dir, struct weir_log *log, struct weir_state **ret_state,
                            struct weir_error *err) {
    struct weir_state *state = NULL;
    *ret_state = NULL;
    weir_status status = make_directory(dir, err);
    if (status == WEIR_OK) {
        status = create(false, log, &state, err);
    }
    if (status != WEIR_OK) {
        return status;
    }
    status = weir_state_find(dir, &state->paths, err);
    if (status == WEIR_OK) {
        status = weir_mark_take(&state->mark, state->paths.lock, err);
    }
    if (status == WEIR_OK) {
        status = open_to_write(state, err);
    }
    if (status != WEIR_OK) {
        // What was not opened is not closed in order.
        weir_connection_close(&state->connection, false);
        weir_state_close(state);
        return status;
    }
    *ret_state = state;
    return WEIR_OK;
}

static weir_status open_to_read(struct weir_state *state, struct weir_error *err) {
    struct weir_state_survey survey;
    struct weir_mark_value marked = {0};
    // Before the database, which only gets more.
    weir_status status = weir_mark_read(state->paths.lock, &marked, err);
    if (status == WEIR_OK) {
        status = weir_state_look(&state->paths, &survey, err);
    }
    if (status == WEIR_OK && survey.database_bytes == 0) {
        status = weir_state_compare(&state->paths, 0, marked.number, err);
        if (status == WEIR_OK) {
            status = weir_fail(err, WEIR_NOT_FOUND, "there is no %s: no weir has run here",
                               state->paths.database);
        }
    }
    if (status == WEIR_OK) {
        status = weir_connection_open(&state->connection, state->paths.database,
                                      WEIR_CONNECTION_READ, err);
    }
    int version = 0;
    if (status == WEIR_OK) {
        status = verify(&state->connection, survey.database_bytes + survey.wal_bytes, &version,
                        &state->number, err);
    }
    if (status == WEIR_OK) {
        status = weir_state_compare(&state->paths, state->number, marked.number, err);
    }
    if (status == WEIR_OK && version == 0) {
        status = weir_fail(err, WEIR_NOT_FOUND, "%s is empty: no weir has run here",
                           state->paths.database);
    }
    if (status == WEIR_OK && version < WEIR_STATE_SCHEMA_VERSION) {
        status = weir_fail(err, WEIR_OTHER,
                           "%s is of an older weir (version %d of the tables): `weir run` brings "
                           "it up to date",
                           state->paths.database, version);
    }
    return status == WEIR_OK ? find_last_ids(state, err) : status;
}

weir_status weir_state_read(const char *dir, struct weir_state **ret_state,
                            struct weir_error *err) {
    struct weir_state *state = NULL;
    *ret_state = NULL;
    weir_status status = create(true, NULL, &state, err);
    if (status != WEIR_OK) {
        return status;
    }
    status = weir_state_find(dir, &state->paths, err);
    if (status == WEIR_OK) {
        status = open_to_read(state, err);
    }
    if (status != WEIR_OK) {
        weir_state_close(state);
        return status;
    }
    *ret_state = state;
    return WEIR_OK;
}

void weir_state_close(struct weir_state *state) {
    if (!state) {
        return;
    }
    struct weir_connection *connection = &state->connection;
    bool is_in_order = connection->db && !connection->is_doubtful && !state->is_ambiguous;
    bool was_writer = is_in_order && !state->is_reader;
    weir_connection_close(connection, was_writer);
    if (was_writer) {
        weir_mark_set(&state->mark, state->number, true);
    }
    weir_mark_release(&state->mark);
    weir_scratch_finish(&state->scratch);
    pthread_mutex_destroy(&state->lock);
    free(state);
}

// ---- after an error ----

static weir_status reopen(struct weir_state *state, struct weir_error *err) {
    struct weir_connection *connection = &state->connection;
    weir_connection_close(connection, false);
    weir_status status =
        weir_connection_open(connection, state->paths.database,
                             state->is_reader ? WEIR_CONNECTION_READ : WEIR_CONNECTION_WRITE, err);
    int version = 0;
    if (status == WEIR_OK) {
        status = weir_schema_read(connection, &version, err);
    }
    if (status == WEIR_OK && version != WEIR_STATE_SCHEMA_VERSION) {
        status = weir_fail(err, WEIR_OTHER, "%s has been exchanged for another file: %s",
                           connection->path, advice_lost);
    }
    if (status != WEIR_OK) {
        weir_connection_close(connection, false);
    }
    return status;
}

// That the database is where it was left.
static weir_status check_number(struct weir_state *state, struct weir_error *err) {
    uint64_t number = 0, most = state->number + (state->is_ambiguous ? 1 : 0);
    weir_status status = weir_state_read_number(&state->connection, &number, err);
    if (status == WEIR_OK) {
        status = weir_state_compare(&state->paths, number, state->number, err);
    }
    if (status == WEIR_OK && number > most) {
        status = weir_fail(err, WEIR_OTHER,
                           "%s has commits of somebody else's: let no other program write it, and "
                           "start weir again",
                           state->paths.database);
    }
    if (status == WEIR_OK) {
        state->number = number;
        state->is_ambiguous = false;
    }
    return status;
}

static weir_status make_usable(struct weir_state *state, enum weir_state_purpose purpose,
                               struct weir_error *err) {
    struct weir_connection *connection = &state->connection;
    weir_status status = WEIR_OK;
    bool is_new = !connection->db || connection->is_doubtful;
    if (is_new) {
        state->needs_checkpoint = true;
        status = reopen(state, err);
    }
    if (state->is_reader || status != WEIR_OK) {
        return status;
    }
    if (is_new || state->is_ambiguous) {
        status = check_number(state, err);
        if (status != WEIR_OK) {
            connection->is_doubtful = true; // so that it is asked again
            return status;
        }
    }
    if (is_new) {
        weir_connection_trust(connection);
    }
    if (state->needs_checkpoint && purpose == WEIR_STATE_TO_COMMIT) {
        int code =
            sqlite3_wal_checkpoint_v2(connection->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
        if (code != SQLITE_OK) {
            return weir_connection_fail(connection, code, "write the WAL into", err);
        }
        state->needs_checkpoint = false;
    }
    return WEIR_OK;
}

weir_status weir_state_enter(struct weir_state *state, enum weir_state_purpose purpose,
                             struct weir_error *err) {
    pthread_mutex_lock(&state->lock);
    weir_status status = make_usable(state, purpose, err);
    if (status != WEIR_OK) {
        pthread_mutex_unlock(&state->lock);
    }
    return status;
}

void weir_state_leave(struct weir_state *state) {
    pthread_mutex_unlock(&state->lock);
}

// ---- transactions ----

static weir_status move_number(struct weir_state *state, struct weir_error *err) {
    sqlite3_stmt *statement;
    weir_status status =
        weir_connection_statement(&state->connection, WEIR_SQL_NUMBER_MOVE, &statement, err);
    if (status != WEIR_OK) {
        return status;
    }
    const struct weir_cell cells[WEIR_META_CELLS] = {
        [WEIR_META_NAME] = weir_cell_text(WEIR_STR("commit")),
        [WEIR_META_VALUE] = weir_cell_integer((int64_t)(state->number + 1)),
    };
    enum { EXPECTED = 4 };
    int code = weir_row_bind(statement, WEIR_TABLE_META, cells);
    if (code == SQLITE_OK) {
        code = sqlite3_bind_int64(statement, EXPECTED, (int64_t)state->number);
    }
    status = weir_connection_run(&state->connection, statement, code, err);
    if (status == WEIR_OK && sqlite3_changes(state->connection.db) != 1) {
        state->connection.is_doubtful = true;
        status = weir_fail(err, WEIR_OTHER,
                           "%s is not at commit %" PRIu64
                           ", where weir left it: let no other program write it, and start weir "
                           "again",
                           state->paths.database, state->number);
    }
    return status;
}

static void roll_back(struct weir_connection *connection) {
    if (sqlite3_get_autocommit(connection->db)) {
        return; // SQLite did it
    }
    weir_status status = weir_connection_do(connection, WEIR_SQL_ROLLBACK, NULL);
    if (status != WEIR_OK || !sqlite3_get_autocommit(connection->db)) {
        connection->is_doubtful = true;
    }
}

// The WAL into the database. What is durable is durable without it, so an error is only told, and
// it is tried again later.
static void checkpoint(struct weir_state *state) {
    struct weir_connection *connection = &state->connection;
    int pages = connection->wal_pages;
    if (pages < CHECKPOINT_PAGES) {
        state->checkpoint_pages = CHECKPOINT_PAGES;
        state->has_told_checkpoint = false;
    }
    if (pages < state->checkpoint_pages) {
        return;
    }
    state->checkpoint_pages = pages + CHECKPOINT_AGAIN_PAGES;
    int code =
        sqlite3_wal_checkpoint_v2(connection->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    bool is_well = code == SQLITE_OK && pages < WAL_PAGES_WARN;
    if (is_well || (code & 0xFF) == SQLITE_BUSY || state->has_told_checkpoint) {
        return;
    }
    state->has_told_checkpoint = true;
    weir_log(state->log, WEIR_LOG_WARN,
             "the WAL of the state database grows: it cannot be written into the database, or a "
             "program keeps reading an old state of it",
             {"path", weir_str_of(state->paths.wal)},
             {"reason", weir_str_of(code == SQLITE_OK ? "a reader" : sqlite3_errstr(code))});
}

static void note_commit(struct weir_state *state) {
    state->number++;
    bool is_marked = weir_mark_set(&state->mark, state->number, false);
    if (!is_marked && !state->has_told_mark) {
        weir_log(state->log, WEIR_LOG_WARN,
                 "the number of the last commit cannot be written, so a commit that goes missing "
                 "may go unnoticed",
                 {"path", weir_str_of(state->paths.lock)});
    }
    state->has_told_mark = !is_marked;
    checkpoint(state);
}

weir_status weir_state_transaction(struct weir_state *state,
                                   weir_status (*apply)(struct weir_state *state,
                                                        const void *context,
                                                        struct weir_error *err),
                                   const void *context, struct weir_error *err) {
    struct weir_connection *connection = &state->connection;
    weir_status status = weir_connection_do(connection, WEIR_SQL_BEGIN, err);
    if (status != WEIR_OK) {
        return status;
    }
    status = apply(state, context, err);
    if (status == WEIR_OK) {
        status = move_number(state, err);
    }
    if (status == WEIR_OK) {
        status = weir_connection_do(connection, WEIR_SQL_COMMIT, err);
        state->is_ambiguous = state->is_ambiguous || status != WEIR_OK;
    }
    if (status != WEIR_OK) {
        roll_back(connection);
        return status;
    }
    note_commit(state);
    return WEIR_OK;
}

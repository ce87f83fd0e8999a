// SPDX-License-Identifier: Apache-2.0
//
// PostgreSQL, for server.c. To make a cluster takes a second, to copy one a tenth of that: it is
// made once by each test program that wants one.
#include "support/server_kind.h"

#include "unit/test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/shm.h>
#include <sys/un.h>
#include <unistd.h>

// ---- the cluster that the others are copied from ----

static struct test_folder template_folder; // its path is empty until there is one

static void remove_template(void) {
    test_folder_finish(&template_folder);
}

static void run(const struct test_child_args *args) {
    struct test_run done;
    test_run_init(&done, args, (struct weir_str){0});
    if (!test_run_is_good(&done)) {
        fail_msg("%s ended with status 0x%x\n%s%s", args->program, (unsigned)done.status, done.out,
                 done.err);
    }
    test_run_finish(&done);
}

static void make_template(void) {
    char program[TEST_PATH_BYTES], data[TEST_PATH_BYTES];
    if (!test_program_find("initdb", program)) {
        fail_msg("there is postgres on this machine, and no initdb");
    }
    test_folder_init_quick(&template_folder);
    atexit(remove_template);
    const char *const arguments[] = {
        "--username=" TEST_POSTGRES_USER,
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--wal-segsize=1", // MiB; it is filled with zeros
        "--no-sync",
        "-D",
        test_path(&template_folder, "data", data),
        NULL,
    };
    run(&(struct test_child_args){
        .program = program,
        .arguments = arguments,
        .is_never_root = true,
    });
}

static void prepare(struct test_server *server) {
    if (!template_folder.path[0]) {
        make_template();
    }
    char from[TEST_PATH_BYTES], program[TEST_PATH_BYTES];
    if (!test_program_find("cp", program)) {
        fail_msg("there is no cp");
    }
    const char *const arguments[] = {
        "-a", "--reflink=auto", test_path(&template_folder, "data", from), server->data.path, NULL,
    };
    run(&(struct test_child_args){.program = program, .arguments = arguments});
}

// ---- its configuration ----

static void write_settings(struct test_server *server) {
    char text[TEST_SERVER_TEXT_BYTES];
    const char *flushes = server->keep == TEST_KEEPS_FLUSHED ? "on" : "off";
    int size = snprintf(text, sizeof text,
                        "listen_addresses = '127.0.0.1'\n"
                        "port = %u\n"
                        "unix_socket_directories = '%s'\n"
                        "fsync = %s\n"
                        "full_page_writes = %s\n"
                        "wal_level = logical\n"
                        "max_connections = 60\n"
                        "max_wal_senders = 20\n"
                        "max_replication_slots = 20\n"
                        "min_wal_size = 2MB\n"
                        "max_wal_size = 64MB\n"
                        "shared_buffers = 16MB\n"
                        // Files among its data, which go with them.
                        "dynamic_shared_memory_type = mmap\n"
                        // What works in the background when it likes is not wanted here.
                        "autovacuum = off\n"
                        "jit = off\n"
                        "%s\n",
                        server->port, server->socket, flushes, flushes,
                        server->config ? server->config : "");
    REQUIRE((size_t)size < sizeof text);
    test_write(&server->data, "postgresql.conf", text);
}

static void write_access(struct test_server *server) {
    char text[TEST_SERVER_TEXT_BYTES];
    const char *method = server->password ? "scram-sha-256" : "trust";
    snprintf(text, sizeof text,
             "local all all trust\n"
             "local replication all trust\n"
             "host all all 127.0.0.1/32 %s\n"
             "host replication all 127.0.0.1/32 %s\n",
             method, method);
    test_write(&server->data, "pg_hba.conf", text);
}

static void configure(struct test_server *server) {
    memcpy(server->socket, server->folder.path, sizeof server->socket);
    REQUIRE(strlen(server->socket) + sizeof "/.s.PGSQL.12345.lock" <
            sizeof((struct sockaddr_un *)NULL)->sun_path);
    write_settings(server);
    write_access(server);
}

static void arguments(const struct test_server *server, const char *ret_arguments[static 8],
                      char ret_text[static TEST_SERVER_TEXT_BYTES]) {
    (void)ret_text;
    ret_arguments[0] = "-D";
    ret_arguments[1] = server->data.path;
}

static void begin(struct test_server *server) {
    if (server->password) {
        char sql[256];
        int size = snprintf(sql, sizeof sql, "ALTER ROLE " TEST_POSTGRES_USER " PASSWORD '%s'",
                            server->password);
        REQUIRE((size_t)size < sizeof sql);
        free(TEST_SERVER_CLI(server, "-c", sql));
    }
}

// ---- what it tells in its file ----

// The lines of postmaster.pid: 1 the process, 7 its shared memory's key and id, 8 its state.
enum { LINE_PID = 1, LINE_MEMORY = 7, LINE_STATE = 8 };

static const char *line_of(const char *text, unsigned number) {
    for (; text && number > 1; number--) {
        text = strchr(text, '\n');
        text = text ? text + 1 : NULL;
    }
    return text ? text : "";
}

static void read_pid_file(const struct test_server *server, char *ret_text, size_t size) {
    char path[TEST_PATH_BYTES];
    ret_text[0] = '\0';
    int fd = open(test_path(&server->data, "postmaster.pid", path), O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t got = read(fd, ret_text, size - 1);
        ret_text[got > 0 ? got : 0] = '\0';
        close(fd);
    }
}

// As pg_ctl does it.
static bool is_ready(struct test_server *server) {
    char text[1024];
    read_pid_file(server, text, sizeof text);
    return strtol(line_of(text, LINE_PID), NULL, 10) == server->pid &&
           strncmp(line_of(text, LINE_STATE), "ready", 5) == 0;
}

// A segment that nobody is attached to stays until the system is started anew; there are few.
static void clean(struct test_server *server) {
    char text[1024], *behind;
    read_pid_file(server, text, sizeof text);
    const char *line = line_of(text, LINE_MEMORY);
    strtoul(line, &behind, 10);
    if (behind > line) {
        shmctl((int)strtol(behind, NULL, 10), IPC_RMID, NULL);
    }
}

// ---- its client ----

static size_t client_arguments(const struct test_server *server,
                               const char *ret_arguments[static 16],
                               char ret_text[static TEST_SERVER_TEXT_BYTES]) {
    snprintf(ret_text, TEST_SERVER_TEXT_BYTES, "host=%s port=%u user=%s dbname=%s", server->socket,
             server->port, TEST_POSTGRES_USER, TEST_POSTGRES_DATABASE);
    const char *const words[] = {"-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", ret_text};
    memcpy(ret_arguments, words, sizeof words);
    return COUNT_OF(words);
}

const struct test_server_type test_server_postgres = {
    .name = "postgres",
    .program = "postgres",
    .stop_signal = SIGINT, // whoever is connected is not waited for
    .prepare = prepare,
    .configure = configure,
    .arguments = arguments,
    .is_ready = is_ready,
    .begin = begin,
    .clean = clean,
    // "Do you speak TLS?" It says yes or no, also while it recovers.
    .question = {"\0\0\0\x08\x04\xd2\x16\x2f", 8},
    .answers = {"N", "S"},
    .client = "psql",
    .client_arguments = client_arguments,
    .scheme = "postgresql",
    .user = TEST_POSTGRES_USER,
    .before_password = ":",
    .path = "/" TEST_POSTGRES_DATABASE,
    .is_never_root = true,
};

// SPDX-License-Identifier: Apache-2.0
//
// See child.h. What every program here is started by is setpriv: it asks the kernel to end the
// program with its parent, changes the user, and becomes the program. Tried instead: fork() and the
// same calls by hand, which threads and sanitizers make a place full of rules.
#include "support/child.h"

#include "unit/test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

// ---- finding ----

static bool is_program(const char *folder, size_t folder_size, const char *name,
                       char ret_path[static TEST_PATH_BYTES]) {
    int size = snprintf(ret_path, TEST_PATH_BYTES, "%.*s/%s", (int)folder_size, folder, name);
    return size < TEST_PATH_BYTES && access(ret_path, X_OK) == 0;
}

bool test_program_find(const char *name, char ret_path[static TEST_PATH_BYTES]) {
    static const char *const folders[] = {"/usr/lib/postgresql/15/bin", "/usr/sbin", "/usr/bin"};
    const char *unpacked = getenv("WEIR_SERVERS_DIR");
    for (size_t i = 0; unpacked && unpacked[0] && i < COUNT_OF(folders); i++) {
        char folder[TEST_PATH_BYTES];
        snprintf(folder, sizeof folder, "%s%s", unpacked, folders[i]);
        if (is_program(folder, strlen(folder), name, ret_path)) {
            return true;
        }
    }
    for (size_t i = 0; i < COUNT_OF(folders); i++) {
        if (is_program(folders[i], strlen(folders[i]), name, ret_path)) {
            return true;
        }
    }
    const char *folder = getenv("PATH");
    while (folder && folder[0]) {
        size_t size = strcspn(folder, ":");
        if (size > 0 && is_program(folder, size, name, ret_path)) {
            return true;
        }
        folder += size + (folder[size] == ':');
    }
    return false;
}

// ---- starting ----

struct command {
    const char *words[TEST_CHILD_ARGUMENTS_MAX];
    size_t count;
};

static void add_words(struct command *command, const char *const *words) {
    for (; *words; words++) {
        REQUIRE(command->count < TEST_CHILD_ARGUMENTS_MAX - 1);
        command->words[command->count++] = *words;
    }
}

static void command_line(struct command *command, const struct test_child_args *args) {
    static const char *const begin[] = {"setpriv", "--pdeathsig", "KILL", NULL};
    // Programs and folders may lie where only root can go. The right to go there is kept over the
    // change of the user, also for access(2); all others are dropped.
    static const char *const as_nobody[] = {
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--securebits=+no_setuid_fixup",
        "--inh-caps=-all,+dac_override",
        "--ambient-caps=+dac_override",
        "--bounding-set=-all,+dac_override",
        NULL,
    };
    const char *const program[] = {"--", args->program, NULL};
    add_words(command, begin);
    if (args->is_never_root && geteuid() == 0) {
        add_words(command, as_nobody);
    }
    add_words(command, program);
    add_words(command, args->arguments);
}

// A process group and signals of its own: what a terminal or the test does to its own is not meant.
static void be_apart(posix_spawnattr_t *attributes) {
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    posix_spawnattr_init(attributes);
    posix_spawnattr_setpgroup(attributes, 0);
    posix_spawnattr_setsigdefault(attributes, &all);
    posix_spawnattr_setsigmask(attributes, &none);
    posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF |
                                             POSIX_SPAWN_SETSIGMASK);
}

static void add_stream(posix_spawn_file_actions_t *actions, int fd, int as) {
    if (fd > 0) {
        posix_spawn_file_actions_adddup2(actions, fd, as);
    } else {
        posix_spawn_file_actions_addopen(actions, as, "/dev/null", O_RDWR, 0);
    }
}

pid_t test_child_start(const struct test_child_args *args) {
    struct command command = {0};
    command_line(&command, args);
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    be_apart(&attributes);
    posix_spawn_file_actions_init(&actions);
    add_stream(&actions, args->in_fd, STDIN_FILENO);
    add_stream(&actions, args->out_fd, STDOUT_FILENO);
    add_stream(&actions, args->err_fd, STDERR_FILENO);
    pid_t child;
    // It does not write to the words.
    int code = posix_spawnp(&child, command.words[0], &actions, &attributes,
                            (char *const *)(uintptr_t)command.words, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (code != 0) {
        fail_msg("cannot run %s for %s: %s", command.words[0], args->program, strerror(code));
    }
    return child;
}

int test_child_await(pid_t child) {
    int status = 0;
    pid_t ended = 0;
    WAIT_UNTIL((ended = waitpid(child, &status, WNOHANG)) != 0);
    assert_int_equal(ended, child);
    return status;
}

// ---- running to the end ----

static int memory_file(const char *name, struct weir_str content) {
    int fd = memfd_create(name, MFD_CLOEXEC);
    REQUIRE(fd > 0);
    REQUIRE(write(fd, content.data, content.size) == (ssize_t)content.size);
    REQUIRE(lseek(fd, 0, SEEK_SET) == 0);
    return fd;
}

static char *read_and_close(int fd, size_t *ret_size) {
    struct stat st;
    REQUIRE(fstat(fd, &st) == 0);
    *ret_size = (size_t)st.st_size;
    char *text = calloc(1, *ret_size + 1);
    REQUIRE(text && pread(fd, text, *ret_size, 0) == (ssize_t)*ret_size);
    close(fd);
    return text;
}

void test_run_init(struct test_run *run, const struct test_child_args *args,
                   struct weir_str input) {
    // Files in memory and no pipes: however much goes in and out, nobody waits for a reader.
    struct test_child_args with = *args;
    with.in_fd = memory_file("in", input);
    with.out_fd = memory_file("out", (struct weir_str){0});
    with.err_fd = memory_file("err", (struct weir_str){0});
    run->status = test_child_await(test_child_start(&with));
    close(with.in_fd);
    run->out = read_and_close(with.out_fd, &run->out_size);
    run->err = read_and_close(with.err_fd, &run->err_size);
}

void test_run_finish(struct test_run *run) {
    free(run->out);
    free(run->err);
}

bool test_run_is_good(const struct test_run *run) {
    return WIFEXITED(run->status) && WEXITSTATUS(run->status) == 0;
}

// ---- a process and its children ----

// What /proc has of a process: its state, and its parent. False: it is gone.
static bool look(pid_t pid, char *ret_state, pid_t *ret_parent) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t size = read(fd, text, sizeof text - 1);
    close(fd);
    if (size <= 0) {
        return false;
    }
    text[size] = '\0';
    // A name may hold anything; behind its last bracket are the state and the parent.
    const char *rest = strrchr(text, ')');
    REQUIRE(rest && strlen(rest) > 4);
    *ret_state = rest[2];
    *ret_parent = (pid_t)strtol(rest + 4, NULL, 10);
    return true;
}

char test_process_state(pid_t pid) {
    char state;
    pid_t parent;
    return look(pid, &state, &parent) ? state : 0;
}

size_t test_process_children(pid_t pid, pid_t ret_children[static TEST_CHILD_CHILDREN_MAX]) {
    size_t count = 0;
    DIR *dir = opendir("/proc");
    REQUIRE(dir);
    for (const struct dirent *entry; (entry = readdir(dir));) {
        char state;
        pid_t parent, found = (pid_t)strtol(entry->d_name, NULL, 10);
        if (found > 0 && look(found, &state, &parent) && parent == pid) {
            REQUIRE(count < TEST_CHILD_CHILDREN_MAX);
            ret_children[count++] = found;
        }
    }
    closedir(dir);
    return count;
}

static bool is_gone(pid_t pid) {
    char state = test_process_state(pid);
    return state == 0 || state == 'Z' || state == 'X';
}

static void pause_one(pid_t pid) {
    kill(pid, SIGSTOP);
    WAIT_UNTIL(test_process_state(pid) == 'T' || is_gone(pid));
}

void test_process_pause(pid_t pid) {
    pid_t children[TEST_CHILD_CHILDREN_MAX];
    pause_one(pid); // it makes no more children
    size_t count = test_process_children(pid, children);
    for (size_t i = 0; i < count; i++) {
        pause_one(children[i]);
    }
}

void test_process_continue(pid_t pid) {
    pid_t children[TEST_CHILD_CHILDREN_MAX];
    size_t count = test_process_children(pid, children);
    for (size_t i = 0; i < count; i++) {
        kill(children[i], SIGCONT);
    }
    kill(pid, SIGCONT);
}

void test_process_kill(pid_t pid) {
    pid_t children[TEST_CHILD_CHILDREN_MAX];
    pause_one(pid);
    size_t count = test_process_children(pid, children);
    for (size_t i = 0; i < count; i++) {
        kill(children[i], SIGKILL);
    }
    kill(pid, SIGKILL);
    test_child_await(pid);
    // They are somebody else's now, who may take time to reap them.
    for (size_t i = 0; i < count; i++) {
        WAIT_UNTIL(is_gone(children[i]));
    }
}

// SPDX-License-Identifier: Apache-2.0
//
// Running programs; see process.h. posix_spawn cannot ask for a child's end with its parent's
// (PR_SET_PDEATHSIG), so the child is made by fork. Between fork and exec it calls only what is
// safe in a copy of a process with threads; what fails there is told through a pipe that exec
// closes.
#include "project/process.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

// ---- arguments ----

void weir_arguments_add(struct weir_arguments *arguments, const char *format, ...) {
    char *word = NULL;
    va_list args;
    va_start(args, format);
    int size = vasprintf(&word, format, args);
    va_end(args);
    if (size < 0 || arguments->count == WEIR_ARGUMENTS_MAX) {
        arguments->is_broken = true;
        free(size < 0 ? NULL : word);
        return;
    }
    arguments->items[arguments->count++] = word;
    arguments->items[arguments->count] = NULL;
}

void weir_arguments_finish(struct weir_arguments *arguments) {
    for (size_t i = 0; i < arguments->count; i++) {
        free(arguments->items[i]);
    }
    *arguments = (struct weir_arguments){.count = 0};
}

static bool is_plain_word(const char *word) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "-_./=+:,@%";
    return word[0] && word[strspn(word, plain)] == '\0';
}

char *weir_arguments_shown(const struct weir_arguments *arguments) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    for (size_t i = 0; out && i < arguments->count; i++) {
        const char *word = arguments->items[i];
        if (is_plain_word(word)) {
            fprintf(out, "%s%s", i > 0 ? " " : "", word);
            continue;
        }
        fprintf(out, "%s'", i > 0 ? " " : "");
        for (; *word; word++) {
            fputs(*word == '\'' ? "'\\''" : (char[]){*word, '\0'}, out);
        }
        fputc('\'', out);
    }
    if (out && fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

// ---- finding ----

static bool is_program(const char *path) {
    struct stat about;
    return stat(path, &about) == 0 && S_ISREG(about.st_mode) && access(path, X_OK) == 0;
}

bool weir_program_find(const char *name, char **ret_path) {
    const char *folders = getenv("PATH");
    *ret_path = NULL;
    if (strchr(name, '/')) {
        *ret_path = is_program(name) ? strdup(name) : NULL;
        return *ret_path != NULL;
    }
    while (folders && *folders) {
        size_t size = strcspn(folders, ":");
        // An empty one would be the working directory, where a project may have anything.
        if (size > 0 && asprintf(ret_path, "%.*s/%s", (int)size, folders, name) >= 0) {
            if (is_program(*ret_path)) {
                return true;
            }
            free(*ret_path);
        }
        *ret_path = NULL;
        folders += size + (folders[size] ? 1 : 0);
    }
    return false;
}

// ---- starting ----

static bool is_set_by(const char *setting, const struct weir_arguments *changes) {
    size_t size = strcspn(setting, "=");
    for (size_t i = 0; changes && i < changes->count; i++) {
        const char *change = changes->items[i];
        if (strcspn(change, "=") == size && strncmp(change, setting, size) == 0) {
            return true;
        }
    }
    return false;
}

// This process's environment with the changes. The list is to be freed, its words are borrowed.
static char **make_environment(const struct weir_arguments *changes) {
    size_t count = 0, used = 0;
    while (environ[count]) {
        count++;
    }
    char **list = calloc(count + (changes ? changes->count : 0) + 1, sizeof *list);
    for (size_t i = 0; list && i < count; i++) {
        if (!is_set_by(environ[i], changes)) {
            list[used++] = environ[i];
        }
    }
    for (size_t i = 0; list && changes && i < changes->count; i++) {
        if (strchr(changes->items[i], '=')) {
            list[used++] = changes->items[i];
        }
    }
    return list;
}

// In the child. Never returns.
static void become(const struct weir_process_args *args, char **environment, pid_t parent,
                   int error_fd) {
    sigset_t none;
    sigemptyset(&none);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    int null = open("/dev/null", O_RDONLY);
    struct sigaction standard = {.sa_handler = SIG_DFL};
    sigaction(SIGPIPE, &standard, NULL);
    sigprocmask(SIG_SETMASK, args->blocked ? args->blocked : &none, NULL);
    if (getppid() == parent && null >= 0 && dup2(null, STDIN_FILENO) >= 0 &&
        dup2(args->output_fd, STDOUT_FILENO) >= 0 && (!args->folder || chdir(args->folder) == 0)) {
        execve(args->arguments->items[0], args->arguments->items, environment);
    }
    int code = errno;
    ssize_t told = write(error_fd, &code, sizeof code);
    _exit(told == sizeof code ? 127 : 126);
}

// What the child could not do; 0: it is running the program. Waits for one of the two.
static int error_of_child(int fd) {
    int code = 0;
    ssize_t size;
    do {
        size = read(fd, &code, sizeof code);
    } while (size < 0 && errno == EINTR);
    return size == sizeof code ? code : 0;
}

static weir_status fork_child(const struct weir_process_args *args, char **environment,
                              struct weir_process *ret_process, struct weir_error *err) {
    const char *name = args->arguments->items[0];
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) {
        return weir_fail_errno(err, errno, "cannot start %s", name);
    }
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        become(args, environment, parent, fds[1]);
    }
    int fork_error = errno;
    close(fds[1]);
    if (pid < 0) {
        close(fds[0]);
        return weir_fail_errno(err, fork_error, "cannot start %s", name);
    }
    int code = error_of_child(fds[0]);
    close(fds[0]);
    // A descriptor of its end, made while it cannot be anybody else's number.
    int pid_fd = code == 0 ? pidfd_open(pid, 0) : -1;
    if (pid_fd < 0) {
        code = code ? code : errno;
        kill(pid, SIGKILL);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
        }
        return weir_fail_errno(err, code, "cannot start %s", name);
    }
    *ret_process = (struct weir_process){
        .pid = pid,
        .pid_fd = pid_fd,
        .grace_ns = args->grace_ns > 0 ? args->grace_ns : WEIR_PROCESS_GRACE_MS * WEIR_NS_PER_MS};
    return WEIR_OK;
}

weir_status weir_process_start(const struct weir_process_args *args,
                               struct weir_process *ret_process, struct weir_error *err) {
    *ret_process = (struct weir_process){.pid = 0};
    if (args->arguments->is_broken || (args->environment && args->environment->is_broken)) {
        return weir_fail(err, WEIR_LIMIT, "a program cannot be given more than %d arguments",
                         WEIR_ARGUMENTS_MAX);
    }
    char **environment = make_environment(args->environment);
    if (!environment) {
        return weir_fail_no_memory(err, "the environment of a program");
    }
    weir_status status = fork_child(args, environment, ret_process, err);
    free(environment);
    return status;
}

// ---- its end ----

int weir_process_reap(struct weir_process *process) {
    int status = 0;
    // While it is not reaped, no other group can have its number: what it left running ends here.
    kill(-process->pid, SIGKILL);
    while (waitpid(process->pid, &status, 0) < 0 && errno == EINTR) {
    }
    close(process->pid_fd);
    *process = (struct weir_process){.pid = 0};
    return status;
}

static bool wait_readable(int fd, int64_t until_ns) {
    for (;;) {
        int64_t left_ms = (until_ns - weir_clock_monotonic_ns()) / WEIR_NS_PER_MS;
        struct pollfd entry = {.fd = fd, .events = POLLIN};
        int count = poll(&entry, 1, left_ms > 0 ? (int)left_ms : 0);
        if (count > 0 || (count == 0 && left_ms <= 0)) {
            return count > 0;
        }
    }
}

int weir_process_end(struct weir_process *process) {
    kill(-process->pid, SIGTERM);
    wait_readable(process->pid_fd, weir_clock_monotonic_ns() + process->grace_ns);
    return weir_process_reap(process);
}

// ---- to the end ----

// What a program has written so far.
struct output {
    char *data;
    size_t size, room;
    bool is_over, is_broken;
};

static void take_output(struct output *output, int fd) {
    if (output->room - output->size < 2) {
        size_t room = output->room > 0 ? output->room * 2 : 64 * 1024;
        char *data = room <= WEIR_PROCESS_OUTPUT_BYTES_MAX ? realloc(output->data, room) : NULL;
        if (!data) {
            output->is_broken = output->is_over = true;
            return;
        }
        output->data = data;
        output->room = room;
    }
    ssize_t size = read(fd, output->data + output->size, output->room - output->size - 1);
    output->size += size > 0 ? (size_t)size : 0;
    output->data[output->size] = '\0';
    output->is_over = size == 0 || (size < 0 && errno != EINTR);
}

// Waits for the program's end, and takes what it says. False: it is to stop.
static bool follow(const struct weir_process *process, int output_fd, int stop_fd,
                   struct output *output) {
    bool has_ended = false;
    output->is_over = output_fd < 0;
    while (!has_ended || !output->is_over) {
        struct pollfd entries[] = {
            {.fd = has_ended ? -1 : process->pid_fd, .events = POLLIN},
            {.fd = output->is_over ? -1 : output_fd, .events = POLLIN},
            {.fd = stop_fd, .events = POLLIN},
        };
        // What it left running may hold the pipe for ever: behind its end nothing is waited for.
        if (poll(entries, sizeof entries / sizeof entries[0], has_ended ? 0 : -1) < 0) {
            continue;
        }
        if (entries[2].revents) {
            return false;
        }
        if (entries[1].revents) {
            take_output(output, output_fd);
        } else if (entries[0].revents) {
            has_ended = true;
        } else if (has_ended) {
            output->is_over = true;
        }
        if (output->is_broken) {
            return true;
        }
    }
    return true;
}

static weir_status judge(const char *program, int status, const struct output *output,
                         struct weir_error *err) {
    if (output->is_broken) {
        return weir_fail(err, WEIR_LIMIT, "%s says more than can be kept", program);
    }
    if (WIFSIGNALED(status)) {
        return weir_fail(err, WEIR_OTHER, "%s was ended by signal %d", program, WTERMSIG(status));
    }
    return WEXITSTATUS(status) == 0 ? WEIR_OK
                                    : weir_fail(err, WEIR_OTHER, "%s failed with exit status %d",
                                                program, WEXITSTATUS(status));
}

weir_status weir_process_run(const struct weir_process_args *args, int stop_fd,
                             struct weir_str *ret_output, struct weir_error *err) {
    struct weir_process process;
    struct weir_process_args child = *args;
    struct output output = {.data = NULL};
    int fds[2] = {-1, -1};
    if (ret_output && pipe2(fds, O_CLOEXEC) != 0) {
        return weir_fail_errno(err, errno, "a pipe");
    }
    child.output_fd = ret_output ? fds[1] : args->output_fd;
    weir_status status = weir_process_start(&child, &process, err);
    if (fds[1] >= 0) {
        close(fds[1]);
    }
    if (status == WEIR_OK && !follow(&process, fds[0], stop_fd, &output)) {
        weir_process_end(&process);
        status = weir_fail(err, WEIR_STOPPED, "%s was stopped", args->arguments->items[0]);
    } else if (status == WEIR_OK) {
        int ended = output.is_broken ? weir_process_end(&process) : weir_process_reap(&process);
        status = judge(args->arguments->items[0], ended, &output, err);
    }
    if (fds[0] >= 0) {
        close(fds[0]);
    }
    if (status != WEIR_OK || !ret_output) {
        free(output.data);
        return status;
    }
    output.data = output.data ? output.data : strdup("");
    *ret_output = (struct weir_str){.data = output.data, .size = output.size};
    return output.data ? WEIR_OK : weir_fail_no_memory(err, "what a program said");
}

// SPDX-License-Identifier: Apache-2.0
//
// See compile.h. The child is weir itself, called as `weir compile-guest`: the bytes are its
// standard input, the compiled code its standard output, and what is wrong with the bytes goes to
// its standard error. It bounds its own memory before it looks at the bytes; its time is bounded by
// the parent, which kills it, and meanwhile says how far it is (pace.h).
#include "guest/compile.h"

#include "base/clock.h"
#include "base/show.h"
#include "guest/cache.h"
#include "guest/pace.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef __has_feature
#define __has_feature(name) 0 // gcc, which says it by __SANITIZE_ADDRESS__
#endif

enum {
    MESSAGE_BYTES = 4096, // of what the child says
    ARGUMENT_BYTES = 24,
    // Exit statuses; standard error says more.
    CHILD_REFUSES = 3,      // the bytes
    CHILD_CANNOT_WRITE = 4, // the code, for want of room on the disk
    // The child ends by itself then, should its parent be gone before it could be told to.
    CHILD_S_MAX = 2 * 60 * 60,
    PATH_BYTES = 64,
};

enum kind { MODULE, COMPONENT };
static const char *const kind_names[] = {[MODULE] = "module", [COMPONENT] = "component"};

// What is compiled, as the engine has it.
struct product {
    enum kind kind;
    wasmtime_module_t *module;
    wasmtime_component_t *component;
};

// ---- in this process

static wasmtime_error_t *compile_here(struct weir_engine *engine, struct weir_str wasm,
                                      struct product *product) {
    const uint8_t *bytes = (const uint8_t *)wasm.data;
    return product->kind == MODULE
               ? wasmtime_module_new(engine->wasm, bytes, wasm.size, &product->module)
               : wasmtime_component_new(engine->components, bytes, wasm.size, &product->component);
}

// Maps compiled code, by a descriptor that stays what it was.
static wasmtime_error_t *map_file(struct weir_engine *engine, int fd, struct product *product) {
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return product->kind == MODULE
               ? wasmtime_module_deserialize_file(engine->wasm, path, &product->module)
               : wasmtime_component_deserialize_file(engine->components, path, &product->component);
}

// Copies it, for a file that the system lets nobody execute (a file system mounted noexec).
static wasmtime_error_t *copy_file(struct weir_engine *engine, int fd, struct product *product) {
    struct stat info;
    void *code = fstat(fd, &info) == 0 && info.st_size > 0
                     ? mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0)
                     : MAP_FAILED;
    if (code == MAP_FAILED) {
        return wasmtime_error_new("the compiled code cannot be read");
    }
    size_t size = (size_t)info.st_size;
    wasmtime_error_t *error =
        product->kind == MODULE
            ? wasmtime_module_deserialize(engine->wasm, code, size, &product->module)
            : wasmtime_component_deserialize(engine->components, code, size, &product->component);
    munmap(code, size);
    return error;
}

static wasmtime_error_t *load(struct weir_engine *engine, int fd, struct product *product) {
    wasmtime_error_t *error = map_file(engine, fd, product);
    if (!error) {
        return NULL;
    }
    wasmtime_error_delete(error);
    return copy_file(engine, fd, product);
}

// ---- the child

static int child_fails(const char *message) {
    fprintf(stderr, "%s\n", message);
    return CHILD_REFUSES;
}

static int child_refuses(wasmtime_error_t *error) {
    struct weir_error err;
    weir_engine_fail(error, NULL, WEIR_INVALID, &err);
    return child_fails(err.message);
}

static bool write_all(int fd, const char *bytes, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t count = write(fd, bytes + done, size - done);
        if (count < 0 && errno != EINTR) {
            return false;
        }
        done += count > 0 ? (size_t)count : 0;
    }
    return true;
}

// RLIMIT_DATA counts what can be written to, and so not the addresses that the engine reserves. It
// counts the shadow memory of sanitizers, which is larger than any bound.
static void limit_memory(rlim_t bytes) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    (void)bytes;
#else
    setrlimit(RLIMIT_DATA, &(struct rlimit){.rlim_cur = bytes, .rlim_max = bytes});
#endif
}

int weir_compile_child(int argc, char **argv) {
    // argv: kind, stack bytes, memory bytes of guests, memory bytes of this process
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(CHILD_S_MAX);
    if (argc != 4) {
        return child_fails("compile-guest is for weir's own use");
    }
    struct weir_engine_config config = {
        .stack_bytes = strtoull(argv[1], NULL, 10),
        .memory_bytes_max = strtoull(argv[2], NULL, 10),
        .instances_max = 1, // none is made here, and each takes addresses
    };
    struct product product = {.kind =
                                  strcmp(argv[0], kind_names[MODULE]) == 0 ? MODULE : COMPONENT};
    struct weir_error err;
    struct weir_engine *engine;
    struct stat info;
    if (weir_engine_create(&config, &engine, &err) != WEIR_OK ||
        (product.kind == COMPONENT && weir_engine_want_components(engine, &err) != WEIR_OK)) {
        return child_fails(err.message);
    }
    void *bytes = fstat(STDIN_FILENO, &info) == 0 && info.st_size > 0
                      ? mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, STDIN_FILENO, 0)
                      : MAP_FAILED;
    if (bytes == MAP_FAILED) {
        return child_fails("it is empty");
    }
    limit_memory(strtoull(argv[3], NULL, 10));
    setrlimit(RLIMIT_CORE, &(struct rlimit){0});
    wasmtime_error_t *error =
        compile_here(engine, (struct weir_str){bytes, (size_t)info.st_size}, &product);
    if (error) {
        return child_refuses(error);
    }
    wasm_byte_vec_t code;
    error = product.kind == MODULE ? wasmtime_module_serialize(product.module, &code)
                                   : wasmtime_component_serialize(product.component, &code);
    if (error) {
        return child_refuses(error);
    }
    return write_all(STDOUT_FILENO, code.data, code.size) ? 0 : CHILD_CANNOT_WRITE;
}

// ---- its parent

// A descriptor with the bytes, to be read from the start.
static int as_file(struct weir_str wasm, struct weir_error *err) {
    int fd = memfd_create("guest", MFD_CLOEXEC);
    if (fd < 0 || !write_all(fd, wasm.data, wasm.size) || lseek(fd, 0, SEEK_SET) != 0) {
        weir_fail_errno(err, errno, "handing a guest to its compiler");
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    return fd;
}

static int spawn(const struct weir_engine_config *config, enum kind kind, int in_fd, int out_fd,
                 int message_fd, pid_t *ret_child) {
    char stack[ARGUMENT_BYTES], memory[ARGUMENT_BYTES], most[ARGUMENT_BYTES];
    snprintf(stack, sizeof stack, "%" PRIu64, config->stack_bytes);
    snprintf(memory, sizeof memory, "%" PRIu64, config->memory_bytes_max);
    snprintf(most, sizeof most, "%" PRIu64, config->compile_memory_bytes);
    char name[] = "weir", command[] = "compile-guest";
    char *argv[] = {name, command, (char *)(uintptr_t)kind_names[kind], stack, memory, most, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in_fd, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out_fd, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, message_fd, STDERR_FILENO);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigmask(&attributes, &none);
    int code = posix_spawn(ret_child, config->compiler, &actions, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return code;
}

// What is to be compiled, and for whom.
struct job {
    struct weir_engine *engine;
    const struct weir_compile_source *source;
    struct product *product;
    int folder_fd; // of the cache; -1: there is none
};

// A child that is listened to.
struct listening {
    const struct weir_engine_config *config;
    struct weir_compiling compiling;
    int64_t begin_ns, until_ns, tick_ns; // tick_ns: of the next look
};

static struct listening begin_listening(const struct job *job) {
    const struct weir_compile_source *source = job->source;
    int64_t now_ns = weir_clock_monotonic_ns();
    return (struct listening){
        .config = &job->engine->config,
        .compiling = {.guest = source->guest,
                      .bytes = source->wasm.size,
                      .estimate_ns = weir_pace_estimate_ns(
                          job->folder_fd, kind_names[job->product->kind], source->wasm.size)},
        .begin_ns = now_ns,
        .until_ns = now_ns + job->engine->config.compile_time_ns,
        .tick_ns = now_ns + WEIR_COMPILING_TICK_MS * WEIR_NS_PER_MS,
    };
}

static void tell_progress(struct listening *listening, int64_t now_ns, bool is_over) {
    const struct weir_engine_config *config = listening->config;
    listening->compiling.passed_ns = now_ns - listening->begin_ns;
    listening->compiling.is_over = is_over;
    if (config->compiling &&
        now_ns - listening->begin_ns >= WEIR_COMPILING_TICK_MS * WEIR_NS_PER_MS) {
        config->compiling(config->compiling_context, &listening->compiling);
    }
    listening->tick_ns = now_ns + WEIR_COMPILING_TICK_MS * WEIR_NS_PER_MS;
}

// Waits until there is something to read. False: its time is over first.
static bool await_word(int fd, struct listening *listening) {
    for (;;) {
        int64_t now_ns = weir_clock_monotonic_ns();
        if (now_ns >= listening->until_ns) {
            return false;
        }
        if (now_ns >= listening->tick_ns) {
            tell_progress(listening, now_ns, false);
        }
        int64_t due_ns =
            listening->tick_ns < listening->until_ns ? listening->tick_ns : listening->until_ns;
        struct pollfd entry = {.fd = fd, .events = POLLIN};
        if (poll(&entry, 1, (int)((due_ns - now_ns) / WEIR_NS_PER_MS) + 1) > 0) {
            return true;
        }
    }
}

// Reads what the child says until it closes its end; false: its time is over first.
static bool listen_to(int fd, struct listening *listening, char ret_message[MESSAGE_BYTES]) {
    size_t used = 0;
    for (;;) {
        ret_message[used] = '\0';
        if (!await_word(fd, listening)) {
            return false;
        }
        char rest[256]; // of what has no room
        bool has_room = used < MESSAGE_BYTES - 1;
        ssize_t count = has_room ? read(fd, ret_message + used, MESSAGE_BYTES - 1 - used)
                                 : read(fd, rest, sizeof rest);
        if (count == 0 || (count < 0 && errno != EINTR)) {
            return true;
        }
        used += has_room && count > 0 ? (size_t)count : 0;
    }
}

static weir_status judge(const struct weir_engine_config *config, int status, const char *message,
                         struct weir_error *err) {
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        return WEIR_OK;
    }
    char shown[WEIR_ERROR_MESSAGE_BYTES / 2];
    weir_show((struct weir_str){message, strcspn(message, "\n")}, shown, sizeof shown);
    if (WIFEXITED(status) && WEXITSTATUS(status) == CHILD_REFUSES) {
        return weir_fail(err, WEIR_INVALID, "%s", shown);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == CHILD_CANNOT_WRITE) {
        return weir_fail(err, WEIR_UNAVAILABLE, "there is no room for its compiled code");
    }
    // Where memory is refused to it, the compiler ends itself.
    return weir_fail(
        err, WEIR_LIMIT,
        "compiling it ended with signal %d, as it does where it needs more memory than "
        "host.compile_memory allows (%" PRIu64 " bytes): %s",
        WIFSIGNALED(status) ? WTERMSIG(status) : 0, config->compile_memory_bytes, shown);
}

// What took a moment says more about starting a process than about compiling.
static void note_pace(const struct job *job, const struct weir_compiling *compiling, bool is_good) {
    if (is_good && compiling->passed_ns >= WEIR_COMPILING_TICK_MS * WEIR_NS_PER_MS) {
        weir_pace_note(job->folder_fd, kind_names[job->product->kind], compiling->bytes,
                       compiling->passed_ns);
    }
}

// Runs the child. The code is in out_fd then.
static weir_status compile_there(const struct job *job, int out_fd, struct weir_error *err) {
    const struct weir_engine_config *config = &job->engine->config;
    int pipe_fds[2], in_fd = as_file(job->source->wasm, err);
    if (in_fd < 0) {
        return err ? err->status : WEIR_OTHER;
    }
    if (pipe2(pipe_fds, O_CLOEXEC) != 0) {
        weir_status status = weir_fail_errno(err, errno, "a pipe to a guest's compiler");
        close(in_fd);
        return status;
    }
    pid_t child;
    int code = spawn(config, job->product->kind, in_fd, out_fd, pipe_fds[1], &child);
    close(in_fd);
    close(pipe_fds[1]);
    if (code != 0) {
        close(pipe_fds[0]);
        return weir_fail_errno(err, code, "starting a guest's compiler, %s", config->compiler);
    }
    char message[MESSAGE_BYTES];
    struct listening listening = begin_listening(job);
    bool is_in_time = listen_to(pipe_fds[0], &listening, message);
    int status = 0;
    kill(child, SIGKILL); // who has closed its standard error has ended, and is not changed by it
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    close(pipe_fds[0]);
    tell_progress(&listening, weir_clock_monotonic_ns(), true);
    note_pace(job, &listening.compiling,
              is_in_time && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return is_in_time ? judge(config, status, message, err)
                      : weir_fail(err, WEIR_LIMIT,
                                  "compiling it takes longer than host.compile_time allows "
                                  "(%" PRId64 " ms)",
                                  config->compile_time_ns / WEIR_NS_PER_MS);
}

static weir_status load_or_fail(struct weir_engine *engine, int fd, struct product *product,
                                struct weir_error *err) {
    wasmtime_error_t *error = load(engine, fd, product);
    return error ? weir_engine_fail(error, NULL, WEIR_INVALID, err) : WEIR_OK;
}

// The code goes to a file of this process alone.
static weir_status compile_without_cache(const struct job *job, struct weir_error *err) {
    int fd = memfd_create("guest-code", MFD_CLOEXEC);
    if (fd < 0) {
        return weir_fail_errno(err, errno, "a file for a guest's code");
    }
    weir_status status = compile_there(job, fd, err);
    if (status == WEIR_OK) {
        status = load_or_fail(job->engine, fd, job->product, err);
    }
    close(fd);
    return status;
}

static weir_status compile_into_cache(const struct job *job, const char *name,
                                      struct weir_error *err) {
    char temporary[WEIR_CACHE_NAME_BYTES];
    int fd = weir_cache_begin(job->folder_fd, temporary);
    if (fd < 0) {
        return compile_without_cache(job, err);
    }
    weir_status status = compile_there(job, fd, err);
    if (status == WEIR_OK) {
        status = load_or_fail(job->engine, fd, job->product, err);
    }
    weir_cache_end(&job->engine->config.cache, job->folder_fd, fd, temporary, name,
                   status == WEIR_OK);
    close(fd);
    // A disk that is full is no reason not to run a guest.
    return status == WEIR_UNAVAILABLE ? compile_without_cache(job, err) : status;
}

// Whether the code was there.
static bool take_from_cache(const struct job *job, const char *name) {
    int fd = weir_cache_find(job->folder_fd, name);
    if (fd < 0) {
        return false;
    }
    wasmtime_error_t *error = load(job->engine, fd, job->product);
    if (error) {
        wasmtime_error_delete(error); // of another machine, or damaged: it is made anew
    }
    close(fd);
    return !error;
}

static weir_status compile(struct weir_engine *engine, const struct weir_compile_source *source,
                           struct product *product, struct weir_error *err) {
    if (!engine->config.compiler) {
        wasmtime_error_t *error = compile_here(engine, source->wasm, product);
        return error ? weir_engine_fail(error, NULL, WEIR_INVALID, err) : WEIR_OK;
    }
    struct job job = {.engine = engine, .source = source, .product = product};
    char name[WEIR_CACHE_NAME_BYTES];
    weir_status status = weir_cache_open(&engine->config.cache, &job.folder_fd, err);
    if (status != WEIR_OK || job.folder_fd < 0) {
        return status != WEIR_OK ? status : compile_without_cache(&job, err);
    }
    status = weir_cache_name(source->wasm, kind_names[product->kind], name, err);
    if (status == WEIR_OK && !take_from_cache(&job, name)) {
        status = compile_into_cache(&job, name, err);
    }
    close(job.folder_fd);
    return status;
}

weir_status weir_compile_module(struct weir_engine *engine,
                                const struct weir_compile_source *source,
                                wasmtime_module_t **ret_module, struct weir_error *err) {
    struct product product = {.kind = MODULE};
    weir_status status = compile(engine, source, &product, err);
    *ret_module = product.module;
    return status;
}

weir_status weir_compile_component(struct weir_engine *engine,
                                   const struct weir_compile_source *source,
                                   wasmtime_component_t **ret_component, struct weir_error *err) {
    struct product product = {.kind = COMPONENT};
    weir_status status = compile(engine, source, &product, err);
    *ret_component = product.component;
    return status;
}

// SPDX-License-Identifier: Apache-2.0
//
// `weir test`: a project's handlers, tested without any server. Files are read and checked first,
// so that a mistake in one is told before anything runs; then each test has a world of its own
// (test_world.h), its events are handled one after another, and what came of it is compared.
//
// Main thread. Signals are looked at between two events; one that runs is bounded by bounds.time.
#include "base/clock.h"
#include "base/show.h"
#include "cli/project.h"
#include "cli/test_world.h"
#include "guest/engine.h"
#include "project/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    FILES_MAX = 4096,                   // of one run
    VALUE_BYTES_MAX = 64 * 1024 * 1024, // of a value that is compared
};

struct run {
    const struct weir_cli *cli;
    struct weir_project project;
    char *paths[FILES_MAX]; // of the files of tests; owned
    struct weir_test_file files[FILES_MAX];
    size_t path_count, file_count;
    struct weir_engine *engine;
    struct weir_program_host host;
    char *folder; // of the worlds; removed in the end
    int stop_fd;
    size_t passed, failed, number; // number: of the world
    bool is_stopped;
};

// ---- the files ----

static int add_path(struct run *run, const char *path) {
    if (run->path_count == FILES_MAX) {
        return weir_cli_mistake(run->cli, "test", "more than %d files of tests", FILES_MAX);
    }
    run->paths[run->path_count] = strdup(path);
    return run->paths[run->path_count] ? (run->path_count++, WEIR_EXIT_DONE)
                                       : weir_cli_failed(run->cli, "test: no memory");
}

static int is_test_name(const struct dirent *entry) {
    const char *dot = strrchr(entry->d_name, '.');
    return dot && entry->d_name[0] != '.' &&
           (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0 || strcmp(dot, ".json") == 0);
}

// Those of the project's tests/.
static int find_files(struct run *run) {
    char folder[WEIR_FOLDER_PATH_BYTES], path[WEIR_FOLDER_PATH_BYTES * 2];
    struct dirent **entries = NULL;
    snprintf(folder, sizeof folder, "%s%stests",
             strcmp(run->project.folder, ".") == 0 ? "" : run->project.folder,
             strcmp(run->project.folder, ".") == 0 ? "" : "/");
    int count = scandir(folder, &entries, is_test_name, alphasort);
    int exit_status = WEIR_EXIT_DONE;
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        exit_status = exit_status == WEIR_EXIT_DONE ? add_path(run, path) : exit_status;
        free(entries[i]);
    }
    free(entries);
    return count > 0
               ? exit_status
               : weir_cli_mistake(run->cli, "test",
                                  "there are no tests: %s has no *.yaml, *.yml or *.json", folder);
}

static bool check_resource(struct run *run, struct weir_problems *problems, struct weir_place place,
                           const char *name, bool wants_keys) {
    const struct weir_resource_config *resource =
        weir_config_resource(&run->project.config, weir_str_of(name));
    if (!resource) {
        weir_problems_add(problems, place, name, "%s has no resource of that name",
                          run->project.config_path);
    } else if (weir_test_has_keys(resource) != wants_keys) {
        weir_problems_add(problems, place, name,
                          wants_keys ? "this resource has no keys; write a list of the events that "
                                       "are published to it"
                                     : "this resource has keys; write a mapping of them to values");
    }
    return resource != NULL;
}

// What only the project's configuration can tell of a file's names.
static void check_names(struct run *run, const struct weir_test_file *file,
                        struct weir_problems *problems) {
    for (size_t i = 0; i < file->count; i++) {
        const struct weir_test *test = &file->tests[i];
        if (!weir_test_guest(&run->project.config, test)) {
            weir_problems_add(problems, test->place, "guest", "%s has no guest \"%s\"",
                              run->project.config_path, test->guest);
        }
        for (size_t k = 0; k < test->given_count; k++) {
            check_resource(run, problems, test->given[k].place, test->given[k].resource, true);
        }
        for (size_t k = 0; k < test->key_count; k++) {
            check_resource(run, problems, test->keys[k].place, test->keys[k].resource, true);
        }
        for (size_t k = 0; k < test->published_count; k++) {
            check_resource(run, problems, test->published[k].place, test->published[k].resource,
                           false);
        }
    }
}

static int read_file(struct run *run, const char *path) {
    struct weir_error err = {0};
    struct weir_problems *problems = calloc(1, sizeof *problems);
    struct weir_test_file *file = &run->files[run->file_count];
    if (!problems) {
        return weir_cli_failed(run->cli, "test: no memory for %s", path);
    }
    run->file_count++;
    weir_status status = weir_test_file_read(path, file, problems, &err);
    if (status == WEIR_OK) {
        check_names(run, file, problems);
        weir_problems_sort(problems);
        status = problems->count > 0 ? WEIR_INVALID : WEIR_OK;
    }
    weir_cli_problems(run->cli, path, problems);
    if (status != WEIR_OK && problems->count + problems->left_out == 0) {
        weir_cli_failed(run->cli, "test: %s", err.message);
    }
    weir_problems_finish(problems);
    free(problems);
    return weir_cli_exit_of(status);
}

static int read_files(struct run *run) {
    int worst = WEIR_EXIT_DONE;
    for (size_t i = 0; i < run->path_count; i++) {
        int exit_status = read_file(run, run->paths[i]);
        worst = exit_status > worst ? exit_status : worst;
    }
    return worst;
}

// ---- one test ----

static bool is_to_stop(struct run *run) {
    struct pollfd entry = {.fd = run->stop_fd, .events = POLLIN};
    run->is_stopped = run->is_stopped || poll(&entry, 1, 0) > 0;
    return run->is_stopped;
}

static void tell(FILE *out, const char *message) {
    char shown[WEIR_ERROR_MESSAGE_BYTES];
    fprintf(out, "%*s%s\n", WEIR_TEST_INDENT, "",
            weir_show(weir_str_of(message), shown, sizeof shown));
}

static void tell_output(FILE *out, const struct weir_call *call) {
    const char *at = call->output_tail, *end = at + call->output_tail_size;
    if (at < end) {
        tell(out, "the guest printed:");
    }
    while (at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        struct weir_str line = {.data = at, .size = (size_t)((line_end ? line_end : end) - at)};
        char shown[WEIR_ERROR_MESSAGE_BYTES];
        fprintf(out, "%*s%s\n", WEIR_TEST_INDENT + 2, "", weir_show(line, shown, sizeof shown));
        at = line_end ? line_end + 1 : end;
    }
}

// Gives one event to the handler. False: what came of it is not what was expected.
static bool run_step(struct weir_test_world *world, const struct weir_test_step *step,
                     size_t number, struct weir_call *call, FILE *out) {
    struct weir_error err;
    struct weir_event *event;
    struct weir_verdict verdict = {0};
    if (weir_test_event_make(&step->event, world->watched, number, &event, &err) != WEIR_OK) {
        tell(out, err.message);
        return false;
    }
    const struct weir_cause cause = {
        .subscription = "weir test", .resource = world->watched, .event = event};
    *call = (struct weir_call){.cause = &cause}; // each is a call of its own
    weir_guest_handle(world->guest, world->handler, &event->fields, call, &verdict);
    bool is_good = weir_test_judge_verdict(step, &verdict, out);
    if (verdict.derived && weir_test_world_publish(world, verdict.derived, &err) != WEIR_OK) {
        tell(out, err.message);
        is_good = false;
    }
    call->cause = NULL;
    weir_event_unref(verdict.derived);
    weir_event_unref(event);
    return is_good;
}

static bool run_steps(struct run *run, struct weir_test_world *world, const struct weir_test *test,
                      FILE *out) {
    struct weir_call *call = calloc(1, sizeof *call);
    bool is_good = call != NULL;
    for (size_t i = 0; is_good && i < test->step_count && !is_to_stop(run); i++) {
        char *text = NULL;
        size_t size = 0;
        FILE *differs = open_memstream(&text, &size);
        is_good = differs && run_step(world, &test->steps[i], i + 1, call, differs);
        if (differs) {
            fclose(differs);
        }
        if (!is_good && test->step_count > 1) {
            fprintf(out, "%*sevent %zu, line %u:\n", WEIR_TEST_INDENT, "", i + 1,
                    test->steps[i].place.line);
        }
        if (!is_good) {
            fputs(text ? text : "", out);
            tell_output(out, call);
        }
        free(text);
    }
    free(call);
    return is_good;
}

static bool judge_key(struct weir_test_world *world, const struct weir_test_key *key, FILE *out) {
    struct weir_resource *resource = weir_test_world_resource(world, key->resource)->resource;
    struct weir_value value = {0};
    struct weir_error err;
    const struct weir_limits limits = {.value_bytes_max = VALUE_BYTES_MAX, .until_ns = INT64_MAX};
    weir_status status = resource->provider->get(resource, key->key, &limits, &value, &err);
    if (status != WEIR_OK && status != WEIR_NOT_FOUND) {
        tell(out, err.message);
        return false;
    }
    struct weir_str actual = {.data = value.data, .size = value.size};
    bool is_good = weir_test_judge_key(key, status == WEIR_OK ? &actual : NULL, out);
    free(value.data);
    return is_good;
}

// What is there then: all of it is compared, also where something differs.
static bool judge_effects(struct weir_test_world *world, const struct weir_test *test, FILE *out) {
    bool is_good = true;
    for (size_t i = 0; i < test->key_count; i++) {
        is_good = judge_key(world, &test->keys[i], out) && is_good;
    }
    for (size_t i = 0; i < test->published_count; i++) {
        const struct weir_test_resource *resource =
            weir_test_world_resource(world, test->published[i].resource);
        is_good = weir_test_judge_events(&test->published[i], resource->published,
                                         resource->published_count, out) &&
                  is_good;
    }
    return is_good;
}

static bool run_in_world(struct run *run, const struct weir_test *test, const char *folder,
                         FILE *out) {
    struct weir_test_world world;
    struct weir_error err;
    bool is_good = weir_test_world_make(&run->project.config, test, folder, run->engine, &run->host,
                                        &world, &err) == WEIR_OK;
    if (is_good) {
        is_good = run_steps(run, &world, test, out) && judge_effects(&world, test, out);
    } else {
        tell(out, err.message);
    }
    weir_test_world_finish(&world);
    return is_good;
}

static bool run_in_folder(struct run *run, const struct weir_test *test, FILE *out) {
    char folder[WEIR_FOLDER_PATH_BYTES];
    snprintf(folder, sizeof folder, "%s/%zu", run->folder, run->number++);
    if (mkdir(folder, 0700) != 0) {
        tell(out, "cannot make a folder for its resources");
        return false;
    }
    bool is_good = run_in_world(run, test, folder, out);
    weir_folder_remove(folder);
    return is_good;
}

static void run_test(struct run *run, const char *path, const struct weir_test *test) {
    char *text = NULL, name[WEIR_SHOW_BYTES * 2];
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    int64_t begun_ns = weir_clock_monotonic_ns();
    bool is_good = out && run_in_folder(run, test, out);
    double took_ms = (double)(weir_clock_monotonic_ns() - begun_ns) / (double)WEIR_NS_PER_MS;
    if (out) {
        fclose(out);
    }
    if (!run->is_stopped) {
        weir_show(weir_str_of(test->name), name, sizeof name);
        printf("%-6s%s:%u: %s (%.1f ms)\n%s", is_good ? "ok" : "FAIL", path, test->place.line, name,
               took_ms, !is_good && text ? text : "");
        fflush(stdout);
        run->passed += is_good ? 1 : 0;
        run->failed += is_good ? 0 : 1;
    }
    free(text);
}

// ---- all of them ----

// Where the worlds are, and where what guests print goes: what a failed call printed is shown by
// its end.
static weir_status prepare(struct run *run, struct weir_error *err) {
    const char *temporary = getenv("TMPDIR");
    char prefix[WEIR_FOLDER_PATH_BYTES];
    snprintf(prefix, sizeof prefix, "%s/weir-test-",
             temporary && temporary[0] ? temporary : "/tmp");
    run->host = (struct weir_program_host){.fd = open("/dev/null", O_WRONLY | O_CLOEXEC)};
    if (run->host.fd < 0) {
        return weir_fail_errno(err, errno, "cannot open /dev/null");
    }
    weir_status status = weir_folder_temporary(prefix, &run->folder, err);
    return status == WEIR_OK
               ? weir_program_engine(&run->project.config, run->cli->live, &run->engine, err)
               : status;
}

static int run_all(struct run *run) {
    struct weir_error err;
    if (prepare(run, &err) != WEIR_OK) {
        return weir_cli_failed(run->cli, "test: %s", err.message);
    }
    for (size_t i = 0; i < run->file_count; i++) {
        for (size_t t = 0; t < run->files[i].count && !is_to_stop(run); t++) {
            run_test(run, run->paths[i], &run->files[i].tests[t]);
        }
    }
    printf("%zu passed, %zu failed\n", run->passed, run->failed);
    if (run->is_stopped) {
        return weir_cli_failed(run->cli, "test: stopped by a signal");
    }
    return run->failed == 0 ? WEIR_EXIT_DONE : WEIR_EXIT_FAILED;
}

// A guest that was never built is told as that, once, not as a failure of each test.
static int want_guest(const struct run *run) {
    if (access(run->project.wasm, F_OK) == 0) {
        return WEIR_EXIT_DONE;
    }
    return weir_cli_mistake(run->cli, "test", "there is no %s; \"weir build\" makes it",
                            run->project.wasm);
}

static int test(struct run *run, char **files, int file_count) {
    struct weir_error err;
    int exit_status = want_guest(run);
    if (exit_status == WEIR_EXIT_DONE &&
        weir_test_replace_resources(&run->project.config, &err) != WEIR_OK) {
        return weir_cli_failed(run->cli, "test: %s", err.message);
    }
    if (exit_status == WEIR_EXIT_DONE && file_count == 0) {
        exit_status = find_files(run);
    }
    for (int i = 0; i < file_count && exit_status == WEIR_EXIT_DONE; i++) {
        exit_status = add_path(run, files[i]);
    }
    exit_status = exit_status == WEIR_EXIT_DONE ? read_files(run) : exit_status;
    if (exit_status != WEIR_EXIT_DONE) {
        return exit_status;
    }
    run->stop_fd = weir_cli_stop_fd(run->cli, "test");
    return run->stop_fd >= 0 ? run_all(run) : WEIR_EXIT_FAILED;
}

static void finish(struct run *run) {
    weir_engine_destroy(run->engine);
    weir_folder_remove(run->folder);
    free(run->folder);
    for (size_t i = 0; i < run->file_count; i++) {
        weir_test_file_finish(&run->files[i]);
    }
    for (size_t i = 0; i < run->path_count; i++) {
        free(run->paths[i]);
    }
    if (run->host.fd > 0) {
        close(run->host.fd);
    }
    if (run->stop_fd > 0) {
        close(run->stop_fd);
    }
    weir_project_finish(&run->project);
    free(run);
}

static bool is_folder(const char *path) {
    struct stat about;
    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

int weir_command_test(const struct weir_cli *cli, int argc, char **argv) {
    static const struct option no_options[] = {{NULL, 0, NULL, 0}};
    optind = 0;
    if (weir_cli_option(cli, argc, argv, ":", no_options) != -1) {
        return WEIR_EXIT_MISTAKE;
    }
    struct run *run = calloc(1, sizeof *run);
    if (!run) {
        return weir_cli_failed(cli, "test: no memory");
    }
    run->cli = cli;
    bool has_folder = optind < argc && is_folder(argv[optind]);
    const char *folder = has_folder ? argv[optind++] : ".";
    int exit_status = weir_cli_open_project(cli, "test", folder, &run->project);
    if (exit_status == WEIR_EXIT_DONE) {
        exit_status = test(run, argv + optind, argc - optind);
    }
    finish(run);
    return exit_status;
}

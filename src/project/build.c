// SPDX-License-Identifier: Apache-2.0
//
// Building a guest; see build.h. What is the same for all languages.
#include "project/build.h"

#include "base/clock.h"
#include "project/language.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    COPY_BYTES = 1024 * 1024, // with one call
    // Of a tool that is to end: less than weir itself is given by who ends it.
    TOOL_GRACE_MS = 2000,
};

weir_status weir_build_take(struct weir_build *build, const struct weir_arguments *arguments,
                            const struct weir_arguments *environment, struct weir_str *ret_output,
                            struct weir_error *err) {
    struct weir_process_args args = {.arguments = arguments,
                                     .environment = environment,
                                     .folder = build->folder,
                                     .output_fd = STDERR_FILENO,
                                     .grace_ns = TOOL_GRACE_MS * WEIR_NS_PER_MS};
    return weir_process_run(&args, build->stop_fd, ret_output, err);
}

weir_status weir_build_run(struct weir_build *build, const struct weir_arguments *arguments,
                           const struct weir_arguments *environment, struct weir_error *err) {
    char *shown = weir_arguments_shown(arguments);
    if (shown) {
        build->say(build->say_context, shown);
    }
    free(shown);
    return weir_build_take(build, arguments, environment, NULL, err);
}

weir_status weir_build_ask(struct weir_build *build, const struct weir_arguments *arguments,
                           char **ret_answer, struct weir_error *err) {
    struct weir_str output = {0};
    *ret_answer = NULL;
    weir_status status = weir_build_take(build, arguments, NULL, &output, err);
    if (status == WEIR_OK) {
        *ret_answer = (char *)(uintptr_t)output.data;
        (*ret_answer)[strcspn(*ret_answer, "\n")] = '\0';
    }
    return status;
}

bool weir_build_has(const struct weir_build *build, const char *name) {
    char *path;
    if (asprintf(&path, "%s/%s", build->folder, name) < 0) {
        return false;
    }
    bool is_there = access(path, F_OK) == 0;
    free(path);
    return is_there;
}

char *weir_build_find(const char *const *names) {
    char *path = NULL;
    for (; *names && !path; names++) {
        weir_program_find(*names, &path);
    }
    return path;
}

static weir_status copy_bytes(int from, int to, const char *path, struct weir_error *err) {
    ssize_t size;
    do {
        size = sendfile(to, from, NULL, COPY_BYTES);
    } while (size > 0 || (size < 0 && errno == EINTR));
    return size == 0 ? WEIR_OK : weir_fail_errno(err, errno, "cannot write %s", path);
}

weir_status weir_build_copy(const char *from, const char *to, struct weir_error *err) {
    int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0) {
        return weir_fail_errno(err, errno, "cannot read %s", from);
    }
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (out < 0) {
        weir_status status = weir_fail_errno(err, errno, "cannot make %s", to);
        close(in);
        return status;
    }
    weir_status status = copy_bytes(in, out, to, err);
    close(in);
    if (close(out) != 0 && status == WEIR_OK) {
        status = weir_fail_errno(err, errno, "cannot write %s", to);
    }
    return status;
}

// ---- the whole ----

// Makes the folders in which the product is to be.
static weir_status make_folders(const char *path, struct weir_error *err) {
    char *way = strdup(path);
    if (!way) {
        return weir_fail_no_memory(err, "a path");
    }
    for (char *slash = strchr(way + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(way, 0777) != 0 && errno != EEXIST) {
            weir_status status = weir_fail_errno(err, errno, "cannot make the folder %s", way);
            free(way);
            return status;
        }
        *slash = '/';
    }
    free(way);
    return WEIR_OK;
}

// The path from the root, whether or not there is something. To be freed; NULL without memory, or
// where the working directory is gone.
static char *absolute(const char *path) {
    char *folder = path[0] == '/' ? strdup("") : getcwd(NULL, 0), *result = NULL;
    if (folder && asprintf(&result, "%s%s%s", folder, path[0] == '/' ? "" : "/", path) < 0) {
        result = NULL;
    }
    free(folder);
    return result;
}

static weir_status put(const char *made, const char *wasm, struct weir_error *err) {
    struct stat about;
    if (stat(made, &about) != 0 || about.st_size == 0) {
        return weir_fail(err, WEIR_OTHER, "the tools have said nothing, but made no %s", wasm);
    }
    return rename(made, wasm) == 0 ? WEIR_OK : weir_fail_errno(err, errno, "cannot make %s", wasm);
}

weir_status weir_project_build(const struct weir_project *project, int stop_fd,
                               void (*say)(void *context, const char *line), void *say_context,
                               struct weir_error *err) {
    char *folder = absolute(project->folder), *wasm = absolute(project->wasm), *made = NULL;
    weir_status status = WEIR_OK;
    if (!folder || !wasm || asprintf(&made, "%s.new", wasm) < 0) {
        made = NULL;
        status = weir_fail_no_memory(err, "the paths of a build");
    }
    status = status == WEIR_OK ? make_folders(wasm, err) : status;
    if (status == WEIR_OK) {
        struct weir_build build = {.folder = folder,
                                   .product = made,
                                   .stop_fd = stop_fd,
                                   .say = say,
                                   .say_context = say_context};
        status = project->language->build(&build, err);
        status = status == WEIR_OK ? put(made, wasm, err) : status;
        if (status != WEIR_OK) {
            unlink(made);
        }
    }
    free(folder);
    free(wasm);
    free(made);
    return status;
}

// SPDX-License-Identifier: Apache-2.0
//
// A new project out of the embedded files: the language's template, in which one name stands for
// the project's; the WIT; and the language's SDK, so that nothing has to be fetched from weir. It
// is filled beside its place and renamed there.
#include "base/embedded.h"
#include "project/folder.h"
#include "project/language.h"
#include "project/project.h"

#include "base/show.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

// What templates say where the project's name is to stand. It is a name that every language takes,
// so that a template is a project that its tools can check.
static const char placeholder[] = "weir-template";

// Where an embedded file goes: whatever is below `from` in weir's tree, to below `to` in the
// project.
struct route {
    const char *from, *to;
    bool is_template;
};

// The content with the name in place of each placeholder. `ret_text` is to be freed.
static weir_status fill_in(const struct weir_embedded_file *file, const char *name,
                           struct weir_str *ret_text, struct weir_error *err) {
    char *text = NULL;
    FILE *out = open_memstream(&text, &ret_text->size);
    if (!out) {
        return weir_fail_no_memory(err, "a file of the project");
    }
    const char *at = file->data, *end = file->data + file->size, *found;
    while ((found = strstr(at, placeholder))) {
        fwrite(at, 1, (size_t)(found - at), out);
        fputs(name, out);
        at = found + sizeof placeholder - 1;
    }
    fwrite(at, 1, (size_t)(end - at), out);
    bool is_whole = !ferror(out);
    if (fclose(out) != 0 || !is_whole) {
        free(text);
        return weir_fail_no_memory(err, "a file of the project");
    }
    ret_text->data = text;
    return WEIR_OK;
}

static weir_status write_one(const char *folder, const char *name, const struct route *route,
                             const struct weir_embedded_file *file, struct weir_error *err) {
    char *place;
    if (asprintf(&place, "%s%s", route->to, file->path + strlen(route->from)) < 0) {
        return weir_fail_no_memory(err, "a file of the project");
    }
    struct weir_str content = {.data = file->data, .size = file->size}, filled = {0};
    weir_status status = WEIR_OK;
    if (route->is_template) {
        status = fill_in(file, name, &filled, err);
        content = filled;
    }
    if (status == WEIR_OK) {
        status = weir_folder_write(folder, place, content, err);
    }
    free((char *)(uintptr_t)filled.data);
    free(place);
    return status;
}

static weir_status write_all(const char *folder, const char *name,
                             const struct weir_language *language, struct weir_error *err) {
    char template[64], sdk[64];
    snprintf(template, sizeof template, "templates/%s/", language->name);
    snprintf(sdk, sizeof sdk, "sdk/%s/", language->name);
    const struct route routes[] = {{.from = template, .to = "", .is_template = true},
                                   {.from = "wit/", .to = "wit/"},
                                   {.from = sdk, .to = "weir-sdk/"}};
    weir_status status = WEIR_OK;
    for (size_t i = 0; i < weir_embedded_count && status == WEIR_OK; i++) {
        const struct weir_embedded_file *file = &weir_embedded_files[i];
        for (size_t r = 0; r < sizeof routes / sizeof routes[0] && status == WEIR_OK; r++) {
            if (strncmp(file->path, routes[r].from, strlen(routes[r].from)) == 0) {
                status = write_one(folder, name, &routes[r], file, err);
            }
        }
    }
    return status;
}

// mkdtemp makes folders for the user alone; this one is to be as mkdir would have made it.
static weir_status open_rights(const char *path, struct weir_error *err) {
    mode_t mask = umask(0);
    umask(mask);
    return chmod(path, 0777 & ~mask) == 0 ? WEIR_OK
                                          : weir_fail_errno(err, errno, "the rights of %s", path);
}

// rename(2) takes an empty folder's place, and no other one's.
static weir_status move_to(const char *from, const char *name, struct weir_error *err) {
    if (rename(from, name) == 0) {
        return WEIR_OK;
    }
    if (errno == EEXIST || errno == ENOTEMPTY || errno == ENOTDIR) {
        return weir_fail(err, WEIR_DENIED,
                         "there is a %s already, and it is not an empty folder; take another name, "
                         "or move it away",
                         name);
    }
    return weir_fail_errno(err, errno, "cannot make the folder %s", name);
}

static weir_status make(const char *name, const struct weir_language *language,
                        struct weir_error *err) {
    char *prefix, *folder = NULL;
    if (asprintf(&prefix, ".%s.new-", name) < 0) {
        return weir_fail_no_memory(err, "a project");
    }
    weir_status status = weir_folder_temporary(prefix, &folder, err);
    free(prefix);
    if (status != WEIR_OK) {
        return status;
    }
    status = write_all(folder, name, language, err);
    status = status == WEIR_OK ? open_rights(folder, err) : status;
    status = status == WEIR_OK ? move_to(folder, name, err) : status;
    if (status != WEIR_OK) {
        weir_folder_remove(folder);
    }
    free(folder);
    return status;
}

weir_status weir_project_make(const char *name, const struct weir_language *language,
                              struct weir_error *err) {
    const char *wanted = language->name_wanted(weir_str_of(name));
    if (wanted) {
        char shown[WEIR_SHOW_BYTES];
        return weir_fail(err, WEIR_INVALID, "\"%s\" cannot name a project in %s; it has to be %s",
                         weir_show(weir_str_of(name), shown, sizeof shown), language->title,
                         wanted);
    }
    // It takes milliseconds; a ^C comes before or after, so that nothing half-made is left.
    sigset_t signals, before;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, &before);
    weir_status status = make(name, language, err);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return status;
}

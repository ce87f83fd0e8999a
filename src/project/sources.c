// SPDX-License-Identifier: Apache-2.0
//
// Watching sources with inotify; see sources.h. inotify watches one folder at a time, so each has a
// row here; one that comes is added with what it has in it, and what is in it counts as changed. An
// overflow of its queue counts as a change too, since nobody knows what was in it. Links to folders
// are not followed.
#include "project/sources.h"

#include "project/language.h"
#include "project/project.h"
#include "provider/provider.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LEFT_OUT_MAX = WEIR_CONFIG_RESOURCES_MAX + 1, // folders that are resources or the state
    READ_BYTES = 64 * 1024,
};

static const uint32_t wanted = IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM |
                               IN_MOVED_TO | IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK;

struct folder {
    int watch; // inotify's number
    char *path;
};

struct weir_sources {
    int fd;
    const struct weir_language *language;
    struct folder folders[WEIR_SOURCES_FOLDERS_MAX]; // the first is the project's
    size_t count;
    int root_watch;
    char *left_out[LEFT_OUT_MAX]; // paths, owned
    size_t left_out_count;
};

static weir_status add_tree(struct weir_sources *sources, const char *path,
                            struct weir_changes *changes, struct weir_error *err);

// ---- what is a source ----

static bool is_made_by_tools(const char *name) {
    static const char *const names[] = {"target", "node_modules", "build", "dist", "__pycache__"};
    bool is_made = name[0] == '.';
    for (size_t i = 0; i < sizeof names / sizeof names[0] && !is_made; i++) {
        is_made = strcmp(name, names[i]) == 0;
    }
    return is_made;
}

// By what the paths lead to, for the same folder may be written in many ways.
static bool is_left_out(const struct weir_sources *sources, const char *path) {
    struct stat folder, other;
    if (stat(path, &folder) != 0) {
        return true;
    }
    for (size_t i = 0; i < sources->left_out_count; i++) {
        if (stat(sources->left_out[i], &other) == 0 && other.st_dev == folder.st_dev &&
            other.st_ino == folder.st_ino) {
            return true;
        }
    }
    return false;
}

static bool has_suffix(const char *name, const char *suffix) {
    size_t size = strlen(name), wanted_size = strlen(suffix);
    return size >= wanted_size && strcmp(name + size - wanted_size, suffix) == 0;
}

static bool is_source(const struct weir_sources *sources, const char *name) {
    bool is_one = false;
    for (const char *const *suffix = sources->language->sources; *suffix && !is_one; suffix++) {
        is_one = name[0] != '.' && has_suffix(name, *suffix);
    }
    return is_one;
}

// ---- folders ----

static struct folder *folder_of(struct weir_sources *sources, int watch) {
    for (size_t i = 0; i < sources->count; i++) {
        if (sources->folders[i].watch == watch) {
            return &sources->folders[i];
        }
    }
    return NULL;
}

static void forget(struct weir_sources *sources, struct folder *folder) {
    free(folder->path);
    *folder = sources->folders[--sources->count];
}

// Ends the watches of a folder that went, and of those that were in it.
static void forget_tree(struct weir_sources *sources, const char *path) {
    size_t size = strlen(path);
    for (size_t i = sources->count; i-- > 1;) {
        struct folder *folder = &sources->folders[i];
        bool is_below = strncmp(folder->path, path, size) == 0 &&
                        (folder->path[size] == '/' || folder->path[size] == '\0');
        if (is_below) {
            inotify_rm_watch(sources->fd, folder->watch);
            forget(sources, folder);
        }
    }
}

static weir_status add_folder(struct weir_sources *sources, const char *path,
                              struct weir_error *err) {
    if (sources->count == WEIR_SOURCES_FOLDERS_MAX) {
        return weir_fail(err, WEIR_LIMIT, "the project has more than %d folders to be watched",
                         WEIR_SOURCES_FOLDERS_MAX);
    }
    int watch = inotify_add_watch(sources->fd, path, wanted);
    if (watch < 0 && errno == ENOSPC) {
        return weir_fail(err, WEIR_LIMIT,
                         "the system has no watches left; fs.inotify.max_user_watches allows more");
    }
    if (watch < 0) {
        return errno == ENOENT || errno == ENOTDIR
                   ? WEIR_OK // it has gone again
                   : weir_fail_errno(err, errno, "cannot watch %s", path);
    }
    char *copy = folder_of(sources, watch) ? NULL : strdup(path);
    if (copy) {
        sources->folders[sources->count++] = (struct folder){.watch = watch, .path = copy};
    }
    return WEIR_OK;
}

static weir_status add_entry(struct weir_sources *sources, const char *folder,
                             const struct dirent *entry, struct weir_changes *changes,
                             struct weir_error *err) {
    const char *name = entry->d_name;
    if (entry->d_type != DT_DIR) {
        changes->sources = changes->sources || is_source(sources, name);
        return WEIR_OK;
    }
    if (is_made_by_tools(name)) { // "." and ".." among them
        return WEIR_OK;
    }
    char *path;
    if (asprintf(&path, "%s/%s", folder, name) < 0) {
        return weir_fail_no_memory(err, "the folders of a project");
    }
    weir_status status =
        is_left_out(sources, path) ? WEIR_OK : add_tree(sources, path, changes, err);
    free(path);
    return status;
}

// Adds a folder and those in it; tells sources in it as changed. As deep as folders are: a path has
// an end.
// NOLINTNEXTLINE(misc-no-recursion)
static weir_status add_tree(struct weir_sources *sources, const char *path,
                            struct weir_changes *changes, struct weir_error *err) {
    weir_status status = add_folder(sources, path, err);
    DIR *dir = status == WEIR_OK ? opendir(path) : NULL;
    const struct dirent *entry;
    while (status == WEIR_OK && dir && (entry = readdir(dir))) {
        status = add_entry(sources, path, entry, changes, err);
    }
    if (dir) {
        closedir(dir);
    }
    return status;
}

// ---- beginning and end ----

static void leave_out(struct weir_sources *sources, const char *path) {
    char *copy = path && sources->left_out_count < LEFT_OUT_MAX ? strdup(path) : NULL;
    if (copy) {
        sources->left_out[sources->left_out_count++] = copy;
    }
}

// The folders in which weir itself reads and writes while it runs.
static void leave_out_resources(struct weir_sources *sources, const struct weir_config *config) {
    leave_out(sources, config->state.path);
    for (size_t i = 0; i < config->resource_count; i++) {
        const struct weir_resource_config *resource = &config->resources[i];
        const struct weir_option *first = &resource->provider->options.rows[0];
        if (first->type == WEIR_OPTION_PATH) {
            leave_out(sources, *(char *const *)(const void *)((const char *)resource->options +
                                                              first->offset));
        }
    }
}

weir_status weir_sources_watch(const struct weir_project *project,
                               struct weir_sources **ret_sources, struct weir_error *err) {
    struct weir_changes ignored = {.sources = false};
    struct weir_sources *sources = calloc(1, sizeof *sources);
    if (!sources) {
        return weir_fail_no_memory(err, "the folders of a project");
    }
    sources->language = project->language;
    sources->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    weir_status status = sources->fd >= 0
                             ? WEIR_OK
                             : weir_fail_errno(err, errno, "cannot watch %s", project->folder);
    if (status == WEIR_OK) {
        leave_out_resources(sources, &project->config);
        status = add_tree(sources, project->folder, &ignored, err);
    }
    if (status == WEIR_OK && sources->count == 0) {
        status = weir_fail(err, WEIR_NOT_FOUND, "cannot watch %s: it has gone", project->folder);
    }
    if (status != WEIR_OK) {
        weir_sources_end(sources);
        return status;
    }
    sources->root_watch = sources->folders[0].watch;
    *ret_sources = sources;
    return WEIR_OK;
}

void weir_sources_end(struct weir_sources *sources) {
    if (!sources) {
        return;
    }
    while (sources->count > 0) {
        forget(sources, &sources->folders[sources->count - 1]);
    }
    while (sources->left_out_count > 0) {
        free(sources->left_out[--sources->left_out_count]);
    }
    if (sources->fd >= 0) {
        close(sources->fd);
    }
    free(sources);
}

int weir_sources_fd(const struct weir_sources *sources) {
    return sources->fd;
}

// ---- changes ----

static void take_folder(struct weir_sources *sources, const struct folder *parent,
                        const struct inotify_event *event, struct weir_changes *changes) {
    char *path;
    if (is_made_by_tools(event->name) || asprintf(&path, "%s/%s", parent->path, event->name) < 0) {
        return;
    }
    if (event->mask & (IN_MOVED_FROM | IN_DELETE)) {
        forget_tree(sources, path);
        changes->sources = true;
    } else if (!is_left_out(sources, path)) {
        // What finds no room for a watch is not seen; the folders before it still are.
        add_tree(sources, path, changes, NULL);
    }
    free(path);
}

static void take(struct weir_sources *sources, const struct inotify_event *event,
                 struct weir_changes *changes) {
    if (event->mask & IN_Q_OVERFLOW) {
        changes->sources = changes->config = true;
        return;
    }
    struct folder *folder = folder_of(sources, event->wd);
    if (folder && event->mask & IN_IGNORED) {
        if (folder != &sources->folders[0]) {
            forget(sources, folder);
        }
    } else if (folder && event->mask & IN_ISDIR) {
        take_folder(sources, folder, event, changes);
    } else if (folder && event->len > 0) {
        bool is_config =
            event->wd == sources->root_watch && strcmp(event->name, WEIR_PROJECT_CONFIG) == 0;
        changes->config = changes->config || is_config;
        changes->sources = changes->sources || is_source(sources, event->name);
    }
}

void weir_sources_read(struct weir_sources *sources, struct weir_changes *changes) {
    _Alignas(struct inotify_event) char buffer[READ_BYTES];
    ssize_t size;
    while ((size = read(sources->fd, buffer, sizeof buffer)) > 0) {
        for (const char *at = buffer; at < buffer + size;) {
            const struct inotify_event *event = (const void *)at;
            take(sources, event, changes);
            at += sizeof *event + event->len;
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//
// Finding out what a folder is; see project.h.
#include "project/project.h"

#include "project/language.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { ENTRIES_MAX = 4096 }; // of a folder that are looked at for sources

static bool has_suffix(const char *name, const char *suffix) {
    size_t size = strlen(name), wanted = strlen(suffix);
    return size >= wanted && strcmp(name + size - wanted, suffix) == 0;
}

static bool has_manifest(const char *folder, const char *manifest) {
    char *path;
    if (asprintf(&path, "%s/%s", folder, manifest) < 0) {
        return false;
    }
    bool is_there = access(path, F_OK) == 0;
    free(path);
    return is_there;
}

// Whether the folder's src/ has a source of the language.
static bool has_source(const char *folder, const struct weir_language *language) {
    char *path;
    if (asprintf(&path, "%s/src", folder) < 0) {
        return false;
    }
    DIR *dir = opendir(path);
    free(path);
    bool is_found = false;
    const struct dirent *entry;
    for (int i = 0; dir && !is_found && i < ENTRIES_MAX && (entry = readdir(dir)); i++) {
        is_found = entry->d_name[0] != '.' && has_suffix(entry->d_name, language->sources[0]);
    }
    if (dir) {
        closedir(dir);
    }
    return is_found;
}

// A manifest goes before sources: a project in Rust may have some C beside.
static weir_status find_language(struct weir_project *project, struct weir_error *err) {
    for (const struct weir_language *one = weir_languages; one->name; one++) {
        if (!one->manifest || !has_manifest(project->folder, one->manifest)) {
            continue;
        }
        if (project->language) {
            return weir_fail(err, WEIR_INVALID,
                             "%s has a %s and a %s, so its language cannot be told; a project is "
                             "in one language",
                             project->folder, project->language->manifest, one->manifest);
        }
        project->language = one;
    }
    for (const struct weir_language *one = weir_languages; one->name && !project->language; one++) {
        if (!one->manifest && has_source(project->folder, one)) {
            project->language = one;
        }
    }
    return project->language
               ? WEIR_OK
               : weir_fail(err, WEIR_INVALID,
                           "%s has neither Cargo.toml, package.json, pyproject.toml nor a C source "
                           "in src/, so its language cannot be told; \"weir new\" makes a project",
                           project->folder);
}

weir_status weir_project_open(const char *folder, struct weir_project *ret_project,
                              struct weir_problems *problems, struct weir_error *err) {
    *ret_project = (struct weir_project){.folder = strdup(folder)};
    *problems = (struct weir_problems){.count = 0};
    if (!ret_project->folder ||
        asprintf(&ret_project->config_path, "%s/" WEIR_PROJECT_CONFIG, folder) < 0) {
        ret_project->config_path = NULL;
        return weir_fail_no_memory(err, "a project");
    }
    if (access(ret_project->config_path, F_OK) != 0 && errno == ENOENT) {
        return weir_fail(err, WEIR_NOT_FOUND,
                         "%s is no project: it has no " WEIR_PROJECT_CONFIG
                         "; \"weir new NAME --lang LANGUAGE\" makes one",
                         folder);
    }
    weir_status status =
        weir_config_read(ret_project->config_path, &ret_project->config, problems, err);
    if (status != WEIR_OK) {
        return status;
    }
    if (ret_project->config.guest_count == 0) {
        return weir_fail(err, WEIR_INVALID, "%s names no guest; a project builds its first one",
                         ret_project->config_path);
    }
    ret_project->guest = ret_project->config.guests[0].name;
    ret_project->wasm = ret_project->config.guests[0].wasm;
    return find_language(ret_project, err);
}

void weir_project_finish(struct weir_project *project) {
    weir_config_finish(&project->config);
    free(project->folder);
    free(project->config_path);
    *project = (struct weir_project){.folder = NULL};
}

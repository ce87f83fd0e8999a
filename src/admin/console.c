// SPDX-License-Identifier: Apache-2.0
//
// The console's files, which are in the program (tools/embed.py puts them there). Admin thread.
#include "admin/server.h"

#include "base/embedded.h"

#include <stdio.h>

#define FOLDER "src/admin/console/"

static const struct {
    const char *suffix, *type;
} types[] = {
    {".html", "text/html; charset=utf-8"},
    {".css", "text/css; charset=utf-8"},
    {".js", "text/javascript; charset=utf-8"},
    {".svg", "image/svg+xml"},
};

static const char *type_of(struct weir_str path) {
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        struct weir_str suffix = weir_str_of(types[i].suffix);
        if (path.size > suffix.size &&
            memcmp(path.data + path.size - suffix.size, suffix.data, suffix.size) == 0) {
            return types[i].type;
        }
    }
    return "application/octet-stream";
}

void weir_admin_file(struct weir_admin *admin, const struct weir_admin_request *request,
                     const char *rest, struct weir_admin_answer *answer) {
    const char *wanted = rest[0] ? rest : "index.html";
    (void)admin;
    (void)request;
    for (size_t i = 0; i < weir_console_count; i++) {
        const struct weir_embedded_file *file = &weir_console_files[i];
        if (strcmp(file->path + sizeof FOLDER - 1, wanted) == 0) {
            answer->constant = (struct weir_str){file->data, file->size};
            answer->type = type_of(weir_str_of(file->path));
            return;
        }
    }
    struct weir_error err;
    weir_fail(&err, WEIR_NOT_FOUND, "there is nothing here");
    weir_admin_fail(answer, &err);
}

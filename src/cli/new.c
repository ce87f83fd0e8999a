// SPDX-License-Identifier: Apache-2.0
//
// `weir new`: a project that builds, is tested and runs as it is. Main thread.
#include "base/nearest.h"
#include "base/show.h"
#include "cli/command.h"
#include "project/language.h"
#include "project/project.h"

#include <stdio.h>

static int unknown_language(const struct weir_cli *cli, const char *name) {
    struct weir_nearest nearest;
    char shown[WEIR_SHOW_BYTES];
    weir_nearest_init(&nearest, weir_str_of(name));
    for (const struct weir_language *language = weir_languages; language->name; language++) {
        weir_nearest_offer(&nearest, language->name);
    }
    weir_show(weir_str_of(name), shown, sizeof shown);
    return nearest.best
               ? weir_cli_mistake(cli, "new",
                                  "there is no template in \"%s\"; did you mean \"%s\"?", shown,
                                  nearest.best)
               : weir_cli_mistake(cli, "new", "there is no template in \"%s\"; there are: %s",
                                  shown, WEIR_LANGUAGE_NAMES);
}

static int make(const struct weir_cli *cli, const char *name,
                const struct weir_language *language) {
    struct weir_error err;
    weir_status status = weir_project_make(name, language, &err);
    if (status == WEIR_OK) {
        printf("%s/ is a project in %s. To go on:\n"
               "  cd %s\n"
               "  weir build\n"
               "  weir test\n"
               "  weir dev\n",
               name, language->title, name);
        return WEIR_EXIT_DONE;
    }
    if (status == WEIR_INVALID || status == WEIR_DENIED) {
        return weir_cli_mistake(cli, "new", "%s", err.message);
    }
    return weir_cli_failed(cli, "new: %s", err.message);
}

int weir_command_new(const struct weir_cli *cli, int argc, char **argv) {
    static const struct option options[] = {{"lang", required_argument, NULL, 'l'}, {0}};
    const char *language_name = NULL;
    optind = 0;
    for (int code; (code = weir_cli_option(cli, argc, argv, ":l:", options)) != -1;) {
        if (code != 'l') {
            return WEIR_EXIT_MISTAKE;
        }
        language_name = optarg;
    }
    if (argc - optind != 1) {
        return weir_cli_mistake(cli, "new", "new wants one name: weir new NAME --lang LANGUAGE");
    }
    if (!language_name) {
        return weir_cli_mistake(cli, "new", "new wants a language: --lang and one of %s",
                                WEIR_LANGUAGE_NAMES);
    }
    const struct weir_language *language = weir_language_find(language_name);
    return language ? make(cli, argv[optind], language) : unknown_language(cli, language_name);
}

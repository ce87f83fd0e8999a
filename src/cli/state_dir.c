// SPDX-License-Identifier: Apache-2.0
//
// The directory of the state, from options and configuration; see state_dir.h. Main thread.
#include "cli/state_dir.h"

#include "state/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char default_config[] = "weir.yaml";
static const char default_dir[] = ".weir";

weir_status weir_cli_state_dir_of(const struct weir_config *config, const char *state,
                                  char **ret_dir, struct weir_error *err) {
    const char *given = state ? state : config->state.path;
    *ret_dir = NULL;
    if (given) {
        *ret_dir = strdup(given);
    } else if (strcmp(config->folder, ".") == 0) {
        *ret_dir = strdup(default_dir); // shorter in messages than ./.weir
    } else if (asprintf(ret_dir, "%s/%s", config->folder, default_dir) < 0) {
        *ret_dir = NULL;
    }
    return *ret_dir ? WEIR_OK : weir_fail_no_memory(err, "the state's directory");
}

// Whether a mistake makes it unsafe to say where the state is: the file as a whole cannot be read,
// or that part of it.
static bool matters(const struct weir_problem *problem) {
    return problem->key[0] == '\0' || strcmp(problem->key, "state") == 0 ||
           strncmp(problem->key, "state.", strlen("state.")) == 0;
}

static int dir_of_file(const struct weir_cli *cli, const char *command, const char *file,
                       char **ret_dir) {
    struct weir_config config = {0};
    struct weir_error err = {0};
    struct weir_problems *problems = calloc(1, sizeof *problems);
    if (!problems) {
        return weir_cli_failed(cli, "%s: no memory for %s", command, file);
    }
    weir_status status = weir_config_read(file, &config, problems, &err);
    bool is_known = status == WEIR_OK || (status == WEIR_INVALID && problems->left_out == 0);
    for (size_t i = 0; i < problems->count; i++) {
        is_known = is_known && !matters(&problems->items[i]);
    }
    int exit_status = WEIR_EXIT_DONE;
    if (!is_known && problems->count > 0) {
        weir_cli_problems(cli, file, problems);
        exit_status = WEIR_EXIT_MISTAKE;
    } else if (!is_known) {
        weir_cli_failed(cli, "%s: %s", command, err.message);
        exit_status = weir_cli_exit_of(status);
    } else if (weir_cli_state_dir_of(&config, NULL, ret_dir, &err) != WEIR_OK) {
        exit_status = weir_cli_failed(cli, "%s: %s", command, err.message);
    }
    weir_problems_finish(problems);
    free(problems);
    weir_config_finish(&config);
    return exit_status;
}

int weir_cli_state_dir(const struct weir_cli *cli, const char *command,
                       const struct weir_cli_place *place, char **ret_dir) {
    *ret_dir = NULL;
    if (!place->state && (place->file || access(default_config, F_OK) == 0)) {
        return dir_of_file(cli, command, place->file ? place->file : default_config, ret_dir);
    }
    // What `weir run GUEST.wasm` uses.
    *ret_dir = strdup(place->state ? place->state : default_dir);
    return *ret_dir ? WEIR_EXIT_DONE : weir_cli_failed(cli, "%s: no memory", command);
}

int weir_cli_state_failed(const struct weir_cli *cli, const char *command,
                          const struct weir_error *err) {
    weir_cli_failed(cli, "%s: %s", command, err->message);
    return weir_cli_exit_of(err->status);
}

int weir_cli_state_read(const struct weir_cli *cli, const char *command, const char *dir,
                        struct weir_state **ret_state) {
    struct weir_error err = {0};
    weir_status status = weir_state_read(dir, ret_state, &err);
    if (status == WEIR_NOT_FOUND) {
        weir_cli_failed(cli,
                        "%s: there is no state in %s: no weir has run with it; --state names "
                        "another directory, --file or FILE.yaml another configuration",
                        command, dir);
        return WEIR_EXIT_MISTAKE;
    }
    return status == WEIR_OK ? WEIR_EXIT_DONE : weir_cli_state_failed(cli, command, &err);
}

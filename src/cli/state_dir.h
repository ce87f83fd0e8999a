// SPDX-License-Identifier: Apache-2.0
//
// Where the state is that a command is about; the same for those that look at it and for `weir
// run`.
#ifndef WEIR_CLI_STATE_DIR_H
#define WEIR_CLI_STATE_DIR_H

#include "cli/command.h"

struct weir_state;

// As the user said it; both may be NULL.
struct weir_cli_place {
    const char *state; // --state DIR
    const char *file;  // the configuration
};

// The directory: --state, else `state.path` of the configuration (./weir.yaml where none was
// named), else .weir beside it. Mistakes in other parts of the configuration do not matter here.
// Returns an exit status, and has told what is wrong; `ret_dir` is to be freed.
int weir_cli_state_dir(const struct weir_cli *cli, const char *command,
                       const struct weir_cli_place *place, char **ret_dir);

// The same of a configuration that has been read. `state`: --state, or NULL.
weir_status weir_cli_state_dir_of(const struct weir_config *config, const char *state,
                                  char **ret_dir, struct weir_error *err);

// Opens the state for reading. Returns an exit status, and has told what is wrong.
int weir_cli_state_read(const struct weir_cli *cli, const char *command, const char *dir,
                        struct weir_state **ret_state);

// Tells what went wrong with the state: its own message, and what the status means for the exit.
int weir_cli_state_failed(const struct weir_cli *cli, const char *command,
                          const struct weir_error *err);

#endif

// SPDX-License-Identifier: Apache-2.0
//
// What the commands about projects share: `weir build`, `weir test` and `weir dev`. Main thread.
#ifndef WEIR_CLI_PROJECT_H
#define WEIR_CLI_PROJECT_H

#include "cli/command.h"
#include "project/project.h"

// Opens the project in a folder and tells what is wrong with it. `ret_project` is to be finished in
// each case. Returns an exit status.
int weir_cli_open_project(const struct weir_cli *cli, const char *command, const char *folder,
                          struct weir_project *ret_project);

// Blocks the signals that end a command (SIGINT, SIGTERM, SIGHUP), and returns a descriptor that is
// readable when one came; -1 where there is none, which has been told.
int weir_cli_stop_fd(const struct weir_cli *cli, const char *command);

#endif

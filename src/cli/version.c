// SPDX-License-Identifier: Apache-2.0
//
// `weir version` and `weir --version`. Main thread.
#include "cli/command.h"

#include "guest/engine.h"

#include <stdio.h>

int weir_command_version(const struct weir_cli *cli, int argc, char **argv) {
    if (argc > 1) {
        return weir_cli_mistake(cli, argv[0], "version takes no arguments");
    }
    printf("weir %s (wasmtime %s)\n", WEIR_VERSION, weir_engine_version());
    return WEIR_EXIT_DONE;
}

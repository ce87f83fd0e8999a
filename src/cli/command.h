// SPDX-License-Identifier: Apache-2.0
//
// A command of weir: `weir NAME ARGUMENT...`. Each is a function in a file of its own and a row in
// command.c. Commands are the edge: they print what libraries return, once, to standard error, and
// turn it into an exit status. Standard output carries what was asked for and nothing else.
//
// Used on the main thread.
#ifndef WEIR_CLI_COMMAND_H
#define WEIR_CLI_COMMAND_H

#include "base/error.h"
#include "config/config.h"
#include "observe/log.h"

#include <getopt.h>
#include <stdbool.h>

enum weir_exit {
    WEIR_EXIT_DONE = 0,
    WEIR_EXIT_FAILED = 1,  // at run time: something could not be done
    WEIR_EXIT_MISTAKE = 2, // of the user: in the arguments or in a configuration
};

struct weir_live;

// What all commands share.
struct weir_cli {
    struct weir_log *log;   // on standard error
    struct weir_live *live; // likewise
    enum weir_log_format log_format;
};

struct weir_command {
    const char *name;
    const char *summary; // one line
    const char *help;    // what `weir NAME --help` prints
    // argv[0] is the command's name; options that all commands have, and --help, are not in it.
    // Returns an exit status.
    int (*run)(const struct weir_cli *cli, int argc, char **argv);
};

// In the order in which `weir help` lists them; ended by a NULL name.
extern const struct weir_command weir_commands[];
const struct weir_command *weir_command_find(const char *name);

int weir_command_new(const struct weir_cli *cli, int argc, char **argv);
int weir_command_build(const struct weir_cli *cli, int argc, char **argv);
int weir_command_test(const struct weir_cli *cli, int argc, char **argv);
int weir_command_dev(const struct weir_cli *cli, int argc, char **argv);
int weir_command_run(const struct weir_cli *cli, int argc, char **argv);
int weir_command_kv(const struct weir_cli *cli, int argc, char **argv);
int weir_command_status(const struct weir_cli *cli, int argc, char **argv);
int weir_command_top(const struct weir_cli *cli, int argc, char **argv);
int weir_command_tail(const struct weir_cli *cli, int argc, char **argv);
int weir_command_dlq(const struct weir_cli *cli, int argc, char **argv);
int weir_command_replay(const struct weir_cli *cli, int argc, char **argv);
int weir_command_state(const struct weir_cli *cli, int argc, char **argv);
int weir_command_inspect(const struct weir_cli *cli, int argc, char **argv);
int weir_command_withdraw(const struct weir_cli *cli, int argc, char **argv);
int weir_command_check(const struct weir_cli *cli, int argc, char **argv);
int weir_command_help(const struct weir_cli *cli, int argc, char **argv);
int weir_command_version(const struct weir_cli *cli, int argc, char **argv);

// ---- what commands are written with ----

// The next option of a command, as getopt_long: its code, -1 after the last one; '?' where there is
// a mistake, which has been told: return WEIR_EXIT_MISTAKE. `shorts` begins with ":". Set optind to
// 0 before the first call.
int weir_cli_option(const struct weir_cli *cli, int argc, char **argv, const char *shorts,
                    const struct option *longs);

// Tells a mistake in the arguments, and where help is. Returns WEIR_EXIT_MISTAKE.
int weir_cli_mistake(const struct weir_cli *cli, const char *command, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// Tells what went wrong. Returns WEIR_EXIT_FAILED.
int weir_cli_failed(const struct weir_cli *cli, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

// Tells a configuration's problems, a line each: "weir.yaml:7: guests.hello.bounds.time: ...".
void weir_cli_problems(const struct weir_cli *cli, const char *path,
                       const struct weir_problems *problems);

// The exit status where something that the user named could not be read or taken: a file that is
// missing, malformed or too large is the user's mistake.
int weir_cli_exit_of(weir_status status);

// Reads a configuration and tells what is wrong with it. Returns WEIR_EXIT_DONE where it is good.
// `ret_config` is to be finished in each case.
int weir_cli_read_config(const struct weir_cli *cli, const char *path,
                         struct weir_config *ret_config);

// Sets the option `create` of every resource that has one to false: a command that only looks makes
// nothing. `examines`: not of those that are examined, which makes nothing, and says what they
// make.
void weir_cli_forbid_create(struct weir_config *config, bool examines);

#endif

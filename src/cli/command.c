// SPDX-License-Identifier: Apache-2.0
//
// The commands there are, and what they are written with; see command.h. With `--log-format json`
// messages of the commands themselves are records of the log too, so that whoever reads standard
// error parses each line.
//
// Used on the main thread; getopt's position is the process's.
#include "cli/command.h"

#include "base/nearest.h"
#include "base/show.h"
#include "provider/provider.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const char new_help[] =
    "Usage: weir new NAME --lang c|rust|js|python\n"
    "\n"
    "Makes the folder NAME with a project: a handler, its test, a weir.yaml, and all of\n"
    "weir that they need. It is built, tested and run as it is. NAME must not be there, or\n"
    "be an empty folder.\n"
    "\n"
    "Options:\n"
    "  -l, --lang LANGUAGE             the handler's language: c, rust, js or python\n";

static const char build_help[] =
    "Usage: weir build [DIR]\n"
    "\n"
    "Builds the guest of the project in DIR (default: .) with the tools of its language,\n"
    "which is told by Cargo.toml (Rust), package.json (JavaScript), pyproject.toml\n"
    "(Python), or else src/*.c (C), and puts it where weir.yaml looks for its first\n"
    "guest. Says what it made, or which tool is missing and how to get it.\n"
    "\n"
    "Environment:\n"
    "  WASI_SDK_PATH                   C: a wasi-sdk, in place of the system's clang\n"
    "  CARGO, RUSTC                    Rust: other ones than in PATH\n"
    "  WEIR_RUST_SYSROOT               Rust: a folder with the target's standard library\n"
    "  WEIR_COMPONENTIZE_JS            JavaScript: a folder with node and the SDK's packages\n"
    "                                  in node_modules, in place of installing them\n"
    "  WEIR_COMPONENTIZE_PY            Python: a virtual environment with componentize-py,\n"
    "                                  in place of the project's .venv\n";

static const char test_help[] =
    "Usage: weir test [DIR] [FILE...]\n"
    "\n"
    "Tests the handlers of the project in DIR (default: .), without any server: gives them\n"
    "the events of each FILE (default: DIR/tests/*.yaml, *.yml, *.json) and compares what\n"
    "they answer and what they leave in resources, which are empty folders here. Prints a\n"
    "line for each test, and what differs. Exit status 1 where a test failed.\n";

static const char dev_help[] =
    "Usage: weir dev [DIR]\n"
    "\n"
    "Builds and runs the project in DIR (default: .), watches its sources, and when one\n"
    "changes builds again and swaps the guest in. Where that fails, the old guest goes on.\n"
    "A change of weir.yaml starts weir anew. Ends on SIGINT or SIGTERM, with all it\n"
    "started.\n";

static const char run_help[] =
    "Usage: weir run FILE.yaml [OPTION...]\n"
    "       weir run GUEST.wasm --resource NAME=KIND:VALUE [OPTION...]\n"
    "\n"
    "Runs guests: calls their handlers with what changes in the resources that they\n"
    "are subscribed to. Ends on SIGINT or SIGTERM, or, where there are no\n"
    "subscriptions, when every guest's main has returned.\n"
    "\n"
    "Options:\n"
    "  -r, --resource NAME=KIND:VALUE  add a resource, or replace the one of that name;\n"
    "                                  granted to every guest; such as\n"
    "                                  my-container=file:./data\n"
    "  -s, --state DIR                 where journal, cursors and dead letters are kept;\n"
    "                                  default: .weir beside the configuration\n";

// Of every command that is about the state.
#define STATE_HELP                                                                 \
    "  -s, --state DIR                 the state's directory; default: what the\n" \
    "                                  configuration says, else .weir beside it\n"

static const char status_help[] =
    "Usage: weir status [FILE.yaml] [OPTION...]\n"
    "\n"
    "Says how far each subscription is: of a weir that runs, or, where none runs, what\n"
    "is kept. FILE.yaml says where the state is; default: ./weir.yaml.\n"
    "\n"
    "  STATE   running; waiting: for its guest's exec; paused: its source is, because\n"
    "          too much waits; behind: it is reading what waited on disk; stopped:\n"
    "          see its last error; kept: nobody runs it now; 43%: of what takes its\n"
    "          source long, as a first look at a table, which the line below names\n"
    "  LAG     events that came and are not settled\n"
    "  AGE     of the oldest of them\n"
    "  FLIGHT  of them, those that a handler has right now\n"
    "  RATE/S  events that were settled, a second, over the last 5 to 10 s\n"
    "  RETRY   keys that wait for another attempt\n"
    "  DEAD    events that were given up: weir dlq\n"
    "\n"
    "Options:\n" STATE_HELP
    "      --json                      one object, with units in its names\n";

static const char top_help[] =
    "Usage: weir top [FILE.yaml] [OPTION...]\n"
    "\n"
    "Shows what becomes of the events of a weir that runs, live: its sources and targets,\n"
    "and each subscription with its lag, its rates and how the rate was. FILE.yaml says\n"
    "where the state is; default: ./weir.yaml. A weir that goes away is waited for. Ends\n"
    "on q, SIGINT or SIGTERM. What fails or is away is red.\n"
    "\n"
    "Without a terminal, or with --once, it prints one screen as text and ends: after an\n"
    "interval, because rates are differences of two answers.\n"
    "\n"
    "  arrows, PgUp, PgDn, Home, End   select a subscription, scroll\n"
    "  Enter                           everything of the selected one; back again\n"
    "  /                               filter by a text in name, resource, key, guest,\n"
    "                                  handler or state\n"
    "  < > F6                          sort by another column\n"
    "  I                               invert the order\n"
    "  r                               sources, targets and guests\n"
    "  Space                           pause, go on\n"
    "  Esc                             back; no selection and no filter\n"
    "  h, F1                           help: keys and columns\n"
    "  q, F10                          end\n"
    "\n"
    "NO_COLOR is honoured; bars are ASCII where the locale is not UTF-8.\n"
    "\n"
    "Options:\n" STATE_HELP
    "  -i, --interval DURATION         between two questions, 100ms to 1h; default: 1s\n"
    "      --once                      one screen, as text\n";

static const char tail_help[] =
    "Usage: weir tail [FILE.yaml] [OPTION...]\n"
    "\n"
    "Prints each delivery of a weir that runs: when, what became of it, which attempt it\n"
    "was, how long the handler took, subscription, subject, type; and why it failed. Logs\n"
    "\"tailing\" when every later delivery will be seen. Ends on SIGINT or SIGTERM, and\n"
    "when weir does. What flows quicker than it is read is counted, and not shown.\n"
    "\n"
    "Options:\n" STATE_HELP "      --subscription NAME         of this subscription only\n"
    "      --type PREFIX               events whose type begins so\n"
    "      --key PREFIX                events whose subject begins so\n"
    "      --failed                    attempts that failed\n"
    "      --json                      an object a line\n"
    "  -n, --count N                   end after N deliveries\n"
    "  -t, --timeout DURATION          end after that time; exit status 1 where --count\n"
    "                                  was not reached\n";

static const char dlq_help[] =
    "Usage: weir dlq ls    [--subscription NAME] [OPTION...]\n"
    "       weir dlq show  ID... [OPTION...]\n"
    "       weir dlq retry ID... [OPTION...]\n"
    "       weir dlq rm    ID... [OPTION...]\n"
    "\n"
    "The dead letters: events that were given up, because a handler failed at them too\n"
    "often or rejected them, or because they could not be published.\n"
    "\n"
    "ls lists them. show prints everything of some: why, how often it was tried, the\n"
    "guest's hash, the end of its output, the event. retry gives their events back, to\n"
    "be handled or published behind what waits there; where no weir runs, by the next\n"
    "one. rm removes them. A number that there is not is told, the others are seen to,\n"
    "and the exit status is 1.\n"
    "\n"
    "Options:\n"
    "      --all                       in place of ID...: every one\n"
    "      --subscription NAME         with ls and --all: those of this subscription\n"
    "      --json                      ls, show: an object a line\n" STATE_HELP
    "  -f, --file FILE.yaml            the configuration; default: ./weir.yaml\n";

static const char replay_help[] =
    "Usage: weir replay ID --file FILE.yaml [OPTION...]\n"
    "       weir replay --list [OPTION...]\n"
    "\n"
    "Runs one stored event once more through a handler: here, in a fresh instance, with\n"
    "the same bytes, also while a weir runs. ID is the event's id; it is looked for in\n"
    "the dead letters, the journal and the outbox. Prints what the guest prints, whether\n"
    "it handled the event, what it returned, and how long it took. Changes nothing, and\n"
    "publishes nothing. Exit status 1 where the event was not handled.\n"
    "\n"
    "Options:\n"
    "  -f, --file FILE.yaml            the configuration; default: ./weir.yaml\n"
    "      --guest NAME                another guest than the subscription's\n"
    "      --handler NAME              another of its handlers\n"
    "      --list                      the ids of all stored events, a line each\n" STATE_HELP;

static const char state_help[] =
    "Usage: weir state check  [FILE.yaml] [OPTION...]\n"
    "       weir state forget NAME [OPTION...]\n"
    "\n"
    "check looks for all that can be wrong with the state database and prints a line\n"
    "each; exit status 1 where there is any. It changes nothing, and may be used while a\n"
    "weir runs. forget removes all that is kept of the subscription of that name: its\n"
    "cursor, what waits in its journal, its dead letters; if it runs again it begins\n"
    "anew. Not while a weir runs.\n"
    "\n"
    "Options:\n" STATE_HELP
    "  -f, --file FILE.yaml            the configuration; default: ./weir.yaml\n";

static const char kv_help[] =
    "Usage: weir kv get   RESOURCE KEY\n"
    "       weir kv set   RESOURCE KEY [VALUE]\n"
    "       weir kv rm    RESOURCE KEY\n"
    "       weir kv ls    RESOURCE [KEY]\n"
    "       weir kv watch RESOURCE [KEY]\n"
    "\n"
    "Reads, changes and watches the keys of a resource.\n"
    "\n"
    "RESOURCE is a name from the configuration, or KIND:VALUE, such as file:./data.\n"
    "KEY is a key; for ls and watch also PREFIX*, and all keys where it is missing.\n"
    "VALUE is read from standard input where it is missing or \"-\".\n"
    "\n"
    "get writes the value's bytes and nothing else. ls writes a key a line. watch\n"
    "writes a change a line, as a CloudEvent in JSON, until SIGINT or SIGTERM; it\n"
    "logs \"watching\" when every later change will be seen.\n"
    "\n"
    "Options:\n"
    "  -f, --file FILE.yaml            the configuration; default: ./weir.yaml\n"
    "  -r, --resource NAME=KIND:VALUE  what RESOURCE means where it is NAME\n"
    "  -m, --value-max SIZE            get, set, watch: refuse larger values; default 64MiB\n"
    "  -0, --null                      ls: end each key by a NUL, not by a line break\n"
    "  -n, --count N                   watch: end after N changes\n"
    "  -t, --timeout DURATION          watch: end after that time; exit status 1 where\n"
    "                                  --count was not reached\n";

static const char check_help[] =
    "Usage: weir check FILE.yaml [OPTION...]\n"
    "\n"
    "Says what weir would run, or every mistake at once: in the configuration, in the\n"
    "guests' files, their exports and imports, and in the resources. Changes nothing.\n"
    "\n"
    "Options:\n"
    "  -c, --connect   try the servers as well: say what they do not allow and which\n"
    "                  command mends it; exit status 1 where there is anything\n";

static const char withdraw_help[] =
    "Usage: weir withdraw FILE.yaml RESOURCE\n"
    "\n"
    "Takes away what weir has made at the source of a resource to watch it: triggers,\n"
    "consumer groups, replication slots. What others have there stays. What a\n"
    "subscription had not been told yet is not told any more. Not while a weir runs.\n";

static const char inspect_help[] =
    "Usage: weir inspect GUEST.wasm\n"
    "\n"
    "Says what a guest's file is: a core module or a component, in which lane weir runs\n"
    "it and why, its handlers and its main, what it imports, and what has to be granted\n"
    "to it. Runs nothing of it.\n";

static const char help_help[] =
    "Usage: weir help [COMMAND | KIND | config]\n"
    "\n"
    "Explains a command, the options of a kind of resource, or the configuration file.\n";

static const char version_help[] = "Usage: weir version\n"
                                   "\n"
                                   "Prints the versions of weir and of its WebAssembly engine.\n";

const struct weir_command weir_commands[] = {
    {
        .name = "new",
        .summary = "make a project: a handler, its test, a weir.yaml",
        .help = new_help,
        .run = weir_command_new,
    },
    {
        .name = "build",
        .summary = "build a project's guest with its language's tools",
        .help = build_help,
        .run = weir_command_build,
    },
    {
        .name = "test",
        .summary = "test a project's handlers, without any server",
        .help = test_help,
        .run = weir_command_test,
    },
    {
        .name = "dev",
        .summary = "build and run a project, again at each change",
        .help = dev_help,
        .run = weir_command_dev,
    },
    {
        .name = "run",
        .summary = "run guests as a configuration says, or one guest",
        .help = run_help,
        .run = weir_command_run,
    },
    {
        .name = "status",
        .summary = "say how far each subscription is",
        .help = status_help,
        .run = weir_command_status,
    },
    {
        .name = "top",
        .summary = "show subscriptions, rates and failures, live",
        .help = top_help,
        .run = weir_command_top,
    },
    {
        .name = "tail",
        .summary = "show what flows, live",
        .help = tail_help,
        .run = weir_command_tail,
    },
    {
        .name = "dlq",
        .summary = "list, show, retry and remove dead letters",
        .help = dlq_help,
        .run = weir_command_dlq,
    },
    {
        .name = "replay",
        .summary = "run one stored event through a handler again, here",
        .help = replay_help,
        .run = weir_command_replay,
    },
    {
        .name = "state",
        .summary = "check the state database, forget a subscription",
        .help = state_help,
        .run = weir_command_state,
    },
    {
        .name = "check",
        .summary = "find every mistake in a configuration and its guests",
        .help = check_help,
        .run = weir_command_check,
    },
    {
        .name = "withdraw",
        .summary = "take away what weir made at a source to watch it",
        .help = withdraw_help,
        .run = weir_command_withdraw,
    },
    {
        .name = "inspect",
        .summary = "say what a guest's file is and how weir runs it",
        .help = inspect_help,
        .run = weir_command_inspect,
    },
    {
        .name = "kv",
        .summary = "get, set, remove, list and watch the keys of a resource",
        .help = kv_help,
        .run = weir_command_kv,
    },
    {
        .name = "help",
        .summary = "explain a command, a kind of resource, the configuration",
        .help = help_help,
        .run = weir_command_help,
    },
    {
        .name = "version",
        .summary = "print the versions of weir and its engine",
        .help = version_help,
        .run = weir_command_version,
    },
    {.name = NULL},
};

const struct weir_command *weir_command_find(const char *name) {
    for (const struct weir_command *command = weir_commands; command->name; command++) {
        if (strcmp(command->name, name) == 0) {
            return command;
        }
    }
    return NULL;
}

// A message may name files and keys of others, whose bytes must not steer a terminal.
enum { SHOWN_BYTES = WEIR_ERROR_MESSAGE_BYTES * WEIR_SHOWN_BYTES_MAX };

static void tell(const struct weir_cli *cli, const char *message, const char *hint) {
    if (cli->log_format == WEIR_LOG_JSON) {
        weir_log_write_each(cli->log, WEIR_LOG_ERROR, message, NULL, 0);
    } else {
        char shown[SHOWN_BYTES];
        weir_show(weir_str_of(message), shown, sizeof shown);
        fprintf(stderr, "weir: %s\n%s", shown, hint);
    }
}

int weir_cli_mistake(const struct weir_cli *cli, const char *command, const char *format, ...) {
    char message[WEIR_ERROR_MESSAGE_BYTES], hint[128];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    snprintf(hint, sizeof hint, "Try \"weir %s%s--help\".\n", command, command[0] ? " " : "");
    tell(cli, message, hint);
    return WEIR_EXIT_MISTAKE;
}

int weir_cli_failed(const struct weir_cli *cli, const char *format, ...) {
    char message[WEIR_ERROR_MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    tell(cli, message, "");
    return WEIR_EXIT_FAILED;
}

static int unknown_option(const struct weir_cli *cli, char **argv, const struct option *longs) {
    char shown[WEIR_SHOW_BYTES];
    if (optopt != 0) {
        char letter = (char)optopt;
        weir_show((struct weir_str){.data = &letter, .size = 1}, shown, sizeof shown);
        return weir_cli_mistake(cli, argv[0], "%s has no option -%s", argv[0], shown);
    }
    struct weir_str name = weir_str_of(argv[optind - 1] + 2); // behind "--"
    const char *equals = memchr(name.data, '=', name.size);
    name.size = equals ? (size_t)(equals - name.data) : name.size;
    struct weir_nearest nearest;
    weir_nearest_init(&nearest, name);
    for (const struct option *option = longs; option->name; option++) {
        weir_nearest_offer(&nearest, option->name);
    }
    weir_show(name, shown, sizeof shown);
    if (nearest.best) {
        return weir_cli_mistake(cli, argv[0], "%s has no option --%s; did you mean --%s?", argv[0],
                                shown, nearest.best);
    }
    return weir_cli_mistake(cli, argv[0], "%s has no option --%s", argv[0], shown);
}

int weir_cli_option(const struct weir_cli *cli, int argc, char **argv, const char *shorts,
                    const struct option *longs) {
    opterr = 0;
    int code = getopt_long(argc, argv, shorts, longs, NULL);
    if (code == ':') {
        weir_cli_mistake(cli, argv[0], "%s wants a value behind it", argv[optind - 1]);
        return '?';
    }
    if (code == '?') {
        unknown_option(cli, argv, longs);
    }
    return code;
}

static void tell_problem(const struct weir_cli *cli, const char *path,
                         const struct weir_problem *problem) {
    char line[16];
    snprintf(line, sizeof line, "%u", problem->place.line);
    if (cli->log_format == WEIR_LOG_JSON) {
        weir_log_each(cli->log, WEIR_LOG_ERROR, "a mistake in the configuration",
                      {"path", weir_str_of(path)}, {"line", WEIR_LOG_NUMBER(problem->place.line)},
                      {"key", weir_str_of(problem->key)},
                      {"reason", weir_str_of(problem->message)});
        return;
    }
    char file[WEIR_SHOW_BYTES], message[SHOWN_BYTES];
    weir_show(weir_str_of(path), file, sizeof file);
    weir_show(weir_str_of(problem->message), message, sizeof message);
    fprintf(stderr, "%s%s%s: %s%s%s\n", file, problem->place.line ? ":" : "",
            problem->place.line ? line : "", problem->key, problem->key[0] ? ": " : "", message);
}

void weir_cli_problems(const struct weir_cli *cli, const char *path,
                       const struct weir_problems *problems) {
    for (size_t i = 0; i < problems->count; i++) {
        tell_problem(cli, path, &problems->items[i]);
    }
    if (problems->left_out > 0) {
        weir_cli_failed(cli, "%s: and %zu more mistakes", path, problems->left_out);
    }
}

int weir_cli_exit_of(weir_status status) {
    bool is_mistake = status == WEIR_INVALID || status == WEIR_NOT_FOUND || status == WEIR_LIMIT;
    return status == WEIR_OK ? WEIR_EXIT_DONE : is_mistake ? WEIR_EXIT_MISTAKE : WEIR_EXIT_FAILED;
}

int weir_cli_read_config(const struct weir_cli *cli, const char *path,
                         struct weir_config *ret_config) {
    struct weir_error err = {0};
    struct weir_problems *problems = calloc(1, sizeof *problems);
    if (!problems) {
        *ret_config = (struct weir_config){0};
        return weir_cli_failed(cli, "no memory for %s", path);
    }
    weir_status status = weir_config_read(path, ret_config, problems, &err);
    size_t mistakes = problems->count + problems->left_out;
    weir_cli_problems(cli, path, problems);
    weir_problems_finish(problems);
    free(problems);
    if (status == WEIR_OK) {
        return WEIR_EXIT_DONE;
    }
    if (mistakes == 0) {
        weir_cli_failed(cli, "%s", err.message);
    }
    return weir_cli_exit_of(status);
}

void weir_cli_forbid_create(struct weir_config *config, bool examines) {
    for (size_t i = 0; i < config->resource_count; i++) {
        struct weir_resource_config *resource = &config->resources[i];
        const struct weir_option *create =
            weir_option_find(&resource->provider->options, WEIR_STR("create"));
        bool is_spared = examines && resource->provider->examine;
        if (create && create->type == WEIR_OPTION_BOOL && !is_spared) {
            weir_option_set(create, resource->options, WEIR_STR("false"), NULL, NULL);
        }
    }
}

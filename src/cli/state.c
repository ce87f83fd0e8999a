// SPDX-License-Identifier: Apache-2.0
//
// `weir state`: the state database itself. check looks for everything that can be wrong with it and
// changes nothing; forget removes what is kept of a subscription that nobody runs any more.
//
// Main thread.
#include "state/state.h"

#include "base/nearest.h"
#include "base/show.h"
#include "cli/command.h"
#include "cli/state_dir.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { NAMES_BYTES = 512 }; // of a message's list of subscriptions

// ---- check ----

static void tell_problem(void *context, const char *line) {
    (void)context;
    char shown[WEIR_ERROR_MESSAGE_BYTES * WEIR_SHOWN_BYTES_MAX];
    puts(weir_show(weir_str_of(line), shown, sizeof shown));
}

struct counts {
    uint64_t subscriptions, rows, letters;
};

static bool count_subscription(void *context, const struct weir_subscription_record *record) {
    struct counts *counts = context;
    counts->subscriptions++;
    counts->rows += record->row_count;
    return true;
}

static bool count_letter(void *context, const struct weir_dead_letter *letter) {
    (void)letter;
    ((struct counts *)context)->letters++;
    return true;
}

static weir_status count(const char *dir, struct counts *ret_counts, struct weir_error *err) {
    struct weir_state *state = NULL;
    *ret_counts = (struct counts){0};
    weir_status status = weir_state_read(dir, &state, err);
    if (status == WEIR_OK) {
        status = weir_state_store.load_subscriptions(state, count_subscription, ret_counts, err);
    }
    if (status == WEIR_OK) {
        status = weir_state_store.load_dead(state, 0, SIZE_MAX, count_letter, ret_counts, err);
    }
    weir_state_close(state);
    return status;
}

static int check(const struct weir_cli *cli, const char *dir) {
    struct weir_error err = {0};
    struct weir_state *state = NULL;
    struct counts counts;
    uint64_t problems = 0;
    // A directory without a state is a mistake, not a sound state.
    weir_status status = weir_state_read(dir, &state, &err);
    weir_state_close(state);
    if (status == WEIR_NOT_FOUND) {
        return weir_cli_state_read(cli, "state", dir, &state);
    }
    status = weir_state_check(dir, tell_problem, NULL, &problems, &err);
    if (status != WEIR_OK) {
        return weir_cli_state_failed(cli, "state", &err);
    }
    if (problems > 0) {
        return weir_cli_failed(cli, "state: %s: %" PRIu64 " thing%s wrong", dir, problems,
                               problems == 1 ? " is" : "s are");
    }
    if (count(dir, &counts, &err) != WEIR_OK) {
        return weir_cli_state_failed(cli, "state", &err);
    }
    printf("sound: %" PRIu64 " subscriptions, %" PRIu64 " rows, %" PRIu64 " dead letters\n",
           counts.subscriptions, counts.rows, counts.letters);
    return WEIR_EXIT_DONE;
}

// ---- forget ----

struct naming {
    char text[NAMES_BYTES];
    size_t size;
};

static bool list_name(void *context, const struct weir_subscription_record *record) {
    struct naming *naming = context;
    char shown[WEIR_SHOW_BYTES];
    weir_show(record->name, shown, sizeof shown);
    int more = snprintf(naming->text + naming->size, NAMES_BYTES - naming->size, "%s%s",
                        naming->size ? ", " : "", shown);
    if (more < 0 || (size_t)more >= NAMES_BYTES - naming->size) {
        naming->text[naming->size] = '\0';
        return false;
    }
    naming->size += (size_t)more;
    return true;
}

static int unknown(const struct weir_cli *cli, struct weir_state *state, const char *name) {
    struct naming naming = {.size = 0};
    char shown[WEIR_SHOW_BYTES];
    weir_state_store.load_subscriptions(state, list_name, &naming, NULL);
    weir_show(weir_str_of(name), shown, sizeof shown);
    weir_cli_failed(cli, "state: nothing is kept of a subscription \"%s\"; there %s %s", shown,
                    naming.size ? "are" : "is", naming.size ? naming.text : "none");
    return WEIR_EXIT_MISTAKE;
}

static int forget(const struct weir_cli *cli, const char *dir, const char *name) {
    struct weir_error err = {0};
    struct weir_state *state = NULL;
    // Opening for writing makes what is not there; a mistyped directory is to be told instead.
    int exit_status = weir_cli_state_read(cli, "state", dir, &state);
    weir_state_close(state);
    if (exit_status != WEIR_EXIT_DONE) {
        return exit_status;
    }
    state = NULL;
    weir_status status = weir_state_open(dir, cli->log, &state, &err);
    if (status == WEIR_OK) {
        status = weir_state_forget(state, weir_str_of(name), &err);
    }
    if (status == WEIR_NOT_FOUND && state) {
        exit_status = unknown(cli, state, name);
    } else if (status != WEIR_OK) {
        exit_status = weir_cli_state_failed(cli, "state", &err);
    }
    weir_state_close(state);
    return exit_status;
}

// ---- the command ----

struct arguments {
    struct weir_cli_place place;
    const char *action, *name;
};

static int parse(const struct weir_cli *cli, int argc, char **argv, struct arguments *arguments) {
    static const struct option options[] = {
        {"state", required_argument, NULL, 's'}, {"file", required_argument, NULL, 'f'}, {0}};
    optind = 0; // getopt starts anew
    for (int code; (code = weir_cli_option(cli, argc, argv, ":s:f:", options)) != -1;) {
        if (code == '?') {
            return WEIR_EXIT_MISTAKE;
        }
        const char **which = code == 's' ? &arguments->place.state : &arguments->place.file;
        *which = optarg;
    }
    int words = argc - optind;
    arguments->action = argv[optind];
    if (words == 0) {
        return weir_cli_mistake(cli, "state", "state wants an action: check or forget");
    }
    if (strcmp(arguments->action, "check") == 0) {
        arguments->place.file = words > 1 ? argv[optind + 1] : arguments->place.file;
        return words <= 2 ? WEIR_EXIT_DONE
                          : weir_cli_mistake(cli, "state",
                                             "it is written: weir state check "
                                             "[FILE.yaml]");
    }
    if (strcmp(arguments->action, "forget") == 0) {
        arguments->name = argv[optind + 1];
        return words == 2 ? WEIR_EXIT_DONE
                          : weir_cli_mistake(cli, "state", "it is written: weir state forget NAME");
    }
    struct weir_nearest nearest;
    char shown[WEIR_SHOW_BYTES];
    weir_nearest_init(&nearest, weir_str_of(arguments->action));
    weir_nearest_offer(&nearest, "check");
    weir_nearest_offer(&nearest, "forget");
    weir_show(weir_str_of(arguments->action), shown, sizeof shown);
    return nearest.best
               ? weir_cli_mistake(cli, "state", "state cannot %s; did you mean %s?", shown,
                                  nearest.best)
               : weir_cli_mistake(cli, "state", "state cannot %s; it can check and forget", shown);
}

int weir_command_state(const struct weir_cli *cli, int argc, char **argv) {
    struct arguments arguments = {0};
    char *dir = NULL;
    int exit_status = parse(cli, argc, argv, &arguments);
    if (exit_status == WEIR_EXIT_DONE) {
        exit_status = weir_cli_state_dir(cli, "state", &arguments.place, &dir);
    }
    if (exit_status == WEIR_EXIT_DONE) {
        exit_status = arguments.name ? forget(cli, dir, arguments.name) : check(cli, dir);
    }
    free(dir);
    return exit_status;
}

// SPDX-License-Identifier: Apache-2.0
//
// `weir dlq`: the events that were given up. This file has the arguments and finds the letters that
// are meant; dlq_show.c prints them, dlq_change.c gives them back or removes them.
//
// Letters are found in the database, also while a weir runs: it is read beside the writer. As with
// rm(1), a letter that is not there is told, the others are seen to, and the exit status is 1.
//
// Main thread.
#include "cli/dlq.h"

#include "base/nearest.h"
#include "base/show.h"
#include "cli/state_dir.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

struct action {
    const char *name;
    int (*run)(const struct weir_dlq *dlq);
    bool wants_letters; // ids, or --all
    bool has_json;
};

static const struct action actions[] = {
    {.name = "ls", .run = weir_dlq_ls, .has_json = true},
    {.name = "show", .run = weir_dlq_show, .wants_letters = true, .has_json = true},
    {.name = "retry", .run = weir_dlq_retry, .wants_letters = true},
    {.name = "rm", .run = weir_dlq_rm, .wants_letters = true},
};
enum { ACTIONS = sizeof actions / sizeof actions[0] };

struct arguments {
    struct weir_cli_place place;
    const struct action *action;
    const char *subscription;
    bool is_all, is_json;
    uint64_t *ids; // owned
    size_t id_count;
};

// ---- the letters that are meant ----

struct finding {
    const struct weir_dlq *dlq;
    bool (*each)(void *context, const struct weir_dead_letter *letter);
    void *context;
    uint64_t wanted; // an id; 0: all
    uint64_t last;   // the row that was looked at
    size_t rows;
    bool is_found, is_ended;
};

static bool look(void *context, const struct weir_dead_letter *letter) {
    struct finding *finding = context;
    const char *subscription = finding->dlq->subscription;
    finding->last = letter->id;
    finding->rows++;
    if ((finding->wanted && letter->id != finding->wanted) ||
        (subscription && !weir_str_equal(letter->subscription, weir_str_of(subscription)))) {
        return true;
    }
    finding->is_found = true;
    finding->is_ended = !finding->each(finding->context, letter);
    return !finding->is_ended;
}

static weir_status find_ids(const struct weir_dlq *dlq, struct weir_dlq_cursor *cursor,
                            struct finding *finding, struct weir_error *err) {
    size_t left = WEIR_DLQ_PAGE;
    weir_status status = WEIR_OK;
    for (; status == WEIR_OK && cursor->id_at < dlq->id_count && left > 0; left--) {
        finding->wanted = dlq->ids[cursor->id_at++];
        finding->is_found = false;
        status = weir_state_store.load_dead(dlq->state, finding->wanted - 1, 1, look, finding, err);
        if (status == WEIR_OK && !finding->is_found) {
            cursor->missing++;
            weir_cli_failed(dlq->cli, "dlq %s: there is no dead letter %" PRIu64, dlq->action,
                            finding->wanted);
        }
    }
    cursor->is_over = cursor->id_at == dlq->id_count;
    return status;
}

weir_status weir_dlq_page(const struct weir_dlq *dlq, struct weir_dlq_cursor *cursor,
                          bool (*each)(void *context, const struct weir_dead_letter *letter),
                          void *context, struct weir_error *err) {
    struct finding finding = {.dlq = dlq, .each = each, .context = context};
    if (dlq->ids) {
        return find_ids(dlq, cursor, &finding, err);
    }
    weir_status status =
        weir_state_store.load_dead(dlq->state, cursor->after, WEIR_DLQ_PAGE, look, &finding, err);
    cursor->after = finding.rows > 0 ? finding.last : cursor->after;
    cursor->is_over = finding.is_ended || finding.rows < WEIR_DLQ_PAGE;
    return status;
}

// ---- arguments ----

static const struct option long_options[] = {
    {"all", no_argument, NULL, 'a'},        {"subscription", required_argument, NULL, 'S'},
    {"json", no_argument, NULL, 'j'},       {"state", required_argument, NULL, 's'},
    {"file", required_argument, NULL, 'f'}, {NULL, 0, NULL, 0},
};

static int take_option(struct arguments *arguments, int code) {
    switch (code) {
    case 'a':
        arguments->is_all = true;
        break;
    case 'S':
        arguments->subscription = optarg;
        break;
    case 'j':
        arguments->is_json = true;
        break;
    case 's':
        arguments->place.state = optarg;
        break;
    case 'f':
        arguments->place.file = optarg;
        break;
    default:
        return WEIR_EXIT_MISTAKE;
    }
    return WEIR_EXIT_DONE;
}

static int find_action(const struct weir_cli *cli, const char *name,
                       const struct action **ret_action) {
    if (!name) {
        return weir_cli_mistake(cli, "dlq", "dlq wants an action: ls, show, retry or rm");
    }
    struct weir_nearest nearest;
    weir_nearest_init(&nearest, weir_str_of(name));
    for (size_t i = 0; i < ACTIONS; i++) {
        if (strcmp(actions[i].name, name) == 0) {
            *ret_action = &actions[i];
            return WEIR_EXIT_DONE;
        }
        weir_nearest_offer(&nearest, actions[i].name);
    }
    char shown[WEIR_SHOW_BYTES];
    weir_show(weir_str_of(name), shown, sizeof shown);
    if (nearest.best) {
        return weir_cli_mistake(cli, "dlq", "dlq cannot %s; did you mean %s?", shown, nearest.best);
    }
    return weir_cli_mistake(cli, "dlq", "dlq cannot %s; it can ls, show, retry and rm", shown);
}

static int take_id(const struct weir_cli *cli, const char *text, uint64_t *ret_id) {
    char *end;
    errno = 0;
    unsigned long long id = strtoull(text, &end, 10);
    if (errno != 0 || *end || text[0] < '0' || text[0] > '9' || id == 0) {
        char shown[WEIR_SHOW_BYTES];
        return weir_cli_mistake(cli, "dlq",
                                "\"%s\" is no number of a dead letter; weir dlq ls lists them",
                                weir_show(weir_str_of(text), shown, sizeof shown));
    }
    *ret_id = id;
    return WEIR_EXIT_DONE;
}

static bool has_id(const struct arguments *arguments, uint64_t id) {
    size_t i = 0;
    while (i < arguments->id_count && arguments->ids[i] != id) {
        i++;
    }
    return i < arguments->id_count;
}

static int take_ids(const struct weir_cli *cli, char **words, size_t count,
                    struct arguments *arguments) {
    int exit_status = WEIR_EXIT_DONE;
    if (count == 0) {
        return exit_status;
    }
    arguments->ids = calloc(count, sizeof *arguments->ids);
    if (!arguments->ids) {
        return weir_cli_failed(cli, "dlq: no memory");
    }
    for (size_t i = 0; i < count && exit_status == WEIR_EXIT_DONE; i++) {
        uint64_t id = 0;
        exit_status = take_id(cli, words[i], &id);
        // Once is enough: a letter that is named twice is not tried twice.
        if (exit_status == WEIR_EXIT_DONE && !has_id(arguments, id)) {
            arguments->ids[arguments->id_count++] = id;
        }
    }
    return exit_status;
}

static int check_arguments(const struct weir_cli *cli, const struct arguments *arguments) {
    const struct action *action = arguments->action;
    if (arguments->is_json && !action->has_json) {
        return weir_cli_mistake(cli, "dlq", "dlq %s has no option --json", action->name);
    }
    if (!action->wants_letters) {
        return arguments->ids || arguments->is_all
                   ? weir_cli_mistake(cli, "dlq", "dlq %s lists them all; show ID shows one",
                                      action->name)
                   : WEIR_EXIT_DONE;
    }
    if (!arguments->ids && !arguments->is_all) {
        return weir_cli_mistake(cli, "dlq", "dlq %s wants the numbers of dead letters, or --all",
                                action->name);
    }
    if (arguments->ids && (arguments->is_all || arguments->subscription)) {
        return weir_cli_mistake(cli, "dlq", "numbers of dead letters stand without %s",
                                arguments->is_all ? "--all" : "--subscription");
    }
    return WEIR_EXIT_DONE;
}

static int parse(const struct weir_cli *cli, int argc, char **argv, struct arguments *arguments) {
    optind = 0; // getopt starts anew
    for (int code; (code = weir_cli_option(cli, argc, argv, ":aS:js:f:", long_options)) != -1;) {
        int exit_status = take_option(arguments, code);
        if (exit_status != WEIR_EXIT_DONE) {
            return exit_status;
        }
    }
    int exit_status = find_action(cli, argv[optind], &arguments->action);
    if (exit_status == WEIR_EXIT_DONE) {
        exit_status = take_ids(cli, argv + optind + 1, (size_t)(argc - optind - 1), arguments);
    }
    return exit_status == WEIR_EXIT_DONE ? check_arguments(cli, arguments) : exit_status;
}

static int run(const struct weir_cli *cli, const struct arguments *arguments, const char *dir) {
    struct weir_dlq dlq = {
        .cli = cli,
        .action = arguments->action->name,
        .dir = dir,
        .ids = arguments->ids,
        .id_count = arguments->id_count,
        .subscription = arguments->subscription,
        .is_json = arguments->is_json,
    };
    int exit_status = weir_cli_state_read(cli, "dlq", dir, &dlq.state);
    if (exit_status == WEIR_EXIT_DONE) {
        exit_status = arguments->action->run(&dlq);
        weir_state_close(dlq.state);
    }
    return exit_status;
}

int weir_command_dlq(const struct weir_cli *cli, int argc, char **argv) {
    struct arguments arguments = {0};
    char *dir = NULL;
    int exit_status = parse(cli, argc, argv, &arguments);
    if (exit_status == WEIR_EXIT_DONE) {
        exit_status = weir_cli_state_dir(cli, "dlq", &arguments.place, &dir);
    }
    if (exit_status == WEIR_EXIT_DONE) {
        exit_status = run(cli, &arguments, dir);
    }
    free(arguments.ids);
    free(dir);
    return exit_status;
}

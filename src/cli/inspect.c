// SPDX-License-Identifier: Apache-2.0
//
// `weir inspect`: what a guest's file is, told without running it. Main thread.
#include "base/show.h"
#include "cli/command.h"
#include "cli/program.h"
#include "guest/engine.h"
#include "guest/guest.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

static void print_handlers(const struct weir_guest *guest) {
    char shown[WEIR_SHOW_BYTES];
    printf("handlers:");
    for (uint32_t i = 0; i < weir_guest_handler_count(guest); i++) {
        weir_show(weir_str_of(weir_guest_handler_name(guest, i)), shown, sizeof shown);
        printf("%s %s", i > 0 ? "," : "", shown);
    }
    printf("%s\n", weir_guest_handler_count(guest) > 0 ? "" : " none");
}

static void print_imports(const struct weir_guest *guest) {
    char shown[WEIR_SHOW_BYTES];
    printf("imports:%s\n", weir_guest_import_count(guest) > 0 ? "" : " nothing");
    for (uint32_t i = 0; i < weir_guest_import_count(guest); i++) {
        struct weir_str name = weir_str_of(weir_guest_import(guest, i));
        printf("  %s\n", weir_show(name, shown, sizeof shown));
    }
}

static bool imports(const struct weir_guest *guest, const char *prefix) {
    for (uint32_t i = 0; i < weir_guest_import_count(guest); i++) {
        if (weir_str_has_prefix(weir_str_of(weir_guest_import(guest, i)), weir_str_of(prefix))) {
            return true;
        }
    }
    return false;
}

// Which resources and hosts it asks for is known when it runs; that it may ask for some, from its
// imports.
static void print_grants(const struct weir_guest *guest) {
    static const struct {
        const char *prefix, *grant;
    } rows[] = {
        {"weir:reactive/resources@", "watch: each resource that its main opens"},
        {"wasi:keyvalue/", "get, set, delete, list: each bucket that it uses, as far as it does"},
        {"wasi:messaging/", "publish: each resource that it sends to"},
        {"weir:http/", "hosts: each that it asks"},
        {"weir:sql/", "query, execute: each database that it uses, as far as it does"},
        {"wasi:config/", "config: what it is to be told"},
    };
    bool needs_some = false;
    printf("grants:");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (imports(guest, rows[i].prefix)) {
            printf("\n  %s", rows[i].grant);
            needs_some = true;
        }
    }
    printf("%s\n", needs_some ? "" : " none beyond the resources of its subscriptions");
}

static void print_guest(const char *path, const struct weir_guest *guest) {
    char shown[WEIR_SHOW_BYTES];
    const char *reason;
    const char *main = weir_guest_main_name(guest);
    enum weir_guest_lane lane = weir_guest_lane(guest, &reason);
    printf("file:     %s, %" PRIu64 " bytes, %s\n",
           weir_show(weir_str_of(path), shown, sizeof shown), weir_guest_file_bytes(guest),
           weir_guest_hash(guest));
    printf("lane:     %s: %s\n", lane == WEIR_GUEST_LANE_CORE ? "core" : "component", reason);
    const char *dear = weir_guest_dear_bodies(guest);
    if (dear) {
        printf("bodies:   those that are no text are dear: %s\n",
               weir_show(weir_str_of(dear), shown, sizeof shown));
    }
    print_handlers(guest);
    printf("main:     %s\n", main ? weir_show(weir_str_of(main), shown, sizeof shown) : "none");
    print_imports(guest);
    print_grants(guest);
}

static int inspect(const struct weir_cli *cli, const char *path, struct weir_config *config) {
    struct weir_program_host output = {.fd = STDOUT_FILENO, .log = cli->log};
    struct weir_engine *engine = NULL;
    struct weir_guest *guest = NULL;
    struct weir_error err;
    weir_status status = weir_config_init(config, &err);
    if (status == WEIR_OK) {
        status = weir_config_add_guest(config, path, &err);
    }
    if (status == WEIR_OK) {
        status = weir_program_engine(config, cli->live, &engine, &err);
    }
    if (status == WEIR_OK) {
        status = weir_program_guest(engine, config, &config->guests[0], &output, &guest, &err);
    }
    if (status == WEIR_OK) {
        print_guest(path, guest);
    } else {
        weir_cli_failed(cli, "inspect: %s", err.message);
    }
    weir_guest_unref(guest);
    weir_engine_destroy(engine);
    return status == WEIR_OK ? WEIR_EXIT_DONE : weir_cli_exit_of(status);
}

int weir_command_inspect(const struct weir_cli *cli, int argc, char **argv) {
    static const struct option no_options[] = {{NULL, 0, NULL, 0}};
    optind = 0;
    if (weir_cli_option(cli, argc, argv, ":", no_options) != -1) {
        return WEIR_EXIT_MISTAKE;
    }
    if (argc - optind != 1) {
        return weir_cli_mistake(cli, argv[0],
                                "inspect wants one guest's file: weir inspect GUEST.wasm");
    }
    struct weir_config config;
    int exit_status = inspect(cli, argv[optind], &config);
    weir_config_finish(&config);
    return exit_status;
}

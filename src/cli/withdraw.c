// SPDX-License-Identifier: Apache-2.0
//
// `weir withdraw`: takes away what weir has made at a source for watches, before a resource is
// given up: triggers, groups, slots. Not while a weir runs on the configuration, which would make
// them again, or miss them.
//
// Main thread.
#include "cli/command.h"

#include "base/show.h"
#include "cli/program.h"
#include "cli/state_dir.h"
#include "control/control.h"
#include "provider/provider.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void tell_finding(void *context, const struct weir_finding *finding) {
    char shown[WEIR_ERROR_MESSAGE_BYTES];
    ++*(size_t *)context;
    printf("%s\n", weir_show(weir_str_of(finding->what), shown, sizeof shown));
}

static int withdraw(const struct weir_cli *cli, struct weir_resource *resource) {
    struct weir_error err = {0};
    size_t told = 0;
    const struct weir_findings findings = {.tell = tell_finding, .context = &told};
    if (!resource->provider->withdraw) {
        printf("weir makes nothing at a resource of kind %s\n", resource->provider->kind);
        return WEIR_EXIT_DONE;
    }
    if (resource->provider->withdraw(resource, &findings, &err) != WEIR_OK) {
        return weir_cli_failed(cli, "withdraw: %s: %s", resource->name, err.message);
    }
    if (told == 0) {
        printf("nothing of weir's is there\n");
    }
    return WEIR_EXIT_DONE;
}

// Whether a weir runs on the configuration; false also where that cannot be known.
static bool is_running(const struct weir_config *config) {
    struct weir_control_link *link = NULL;
    char *dir = NULL;
    bool runs = weir_cli_state_dir_of(config, NULL, &dir, NULL) == WEIR_OK &&
                weir_control_open(dir, &link, NULL) == WEIR_OK && link;
    weir_control_close(link);
    free(dir);
    return runs;
}

static int run(const struct weir_cli *cli, struct weir_config *config, const char *name) {
    const struct weir_resource_config *found = weir_config_resource(config, weir_str_of(name));
    struct weir_resource *resource = NULL;
    struct weir_error err = {0};
    if (!found) {
        char shown[WEIR_SHOW_BYTES];
        weir_cli_failed(cli, "withdraw: %s has no resource \"%s\"", config->path,
                        weir_show(weir_str_of(name), shown, sizeof shown));
        return WEIR_EXIT_MISTAKE;
    }
    if (is_running(config)) {
        return weir_cli_failed(cli, "withdraw: a weir runs on %s; stop it first", config->path);
    }
    weir_cli_forbid_create(config, false);
    if (weir_program_resource(found, cli->log, &resource, &err) != WEIR_OK) {
        return weir_cli_failed(cli, "withdraw: %s", err.message);
    }
    int exit_status = withdraw(cli, resource);
    found->provider->close(resource);
    return exit_status;
}

int weir_command_withdraw(const struct weir_cli *cli, int argc, char **argv) {
    static const struct option no_options[] = {{NULL, 0, NULL, 0}};
    optind = 0; // getopt starts anew
    if (weir_cli_option(cli, argc, argv, ":", no_options) != -1) {
        return WEIR_EXIT_MISTAKE;
    }
    if (argc - optind != 2) {
        return weir_cli_mistake(cli, argv[0],
                                "withdraw wants a configuration and the name of a resource");
    }
    struct weir_config config = {0};
    int exit_status = weir_cli_read_config(cli, argv[optind], &config);
    if (exit_status == WEIR_EXIT_DONE) {
        exit_status = run(cli, &config, argv[optind + 1]);
    }
    weir_config_finish(&config);
    return exit_status;
}

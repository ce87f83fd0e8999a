// SPDX-License-Identifier: Apache-2.0
//
// Private to `weir test`: the world of one test. Every resource of the project's configuration is
// there under its name, but empty, and without a server: what has keys is a folder, what has none a
// topic whose events are kept. The rest is composed as `weir run` does it. Main thread.
#ifndef WEIR_CLI_TEST_WORLD_H
#define WEIR_CLI_TEST_WORLD_H

#include "cli/program.h"
#include "guest/guest.h"
#include "project/case.h"
#include "provider/provider.h"

enum { WEIR_TEST_PUBLISHED_MAX = 64 * 1024 }; // events of one test that a topic keeps

// A resource, opened.
struct weir_test_resource {
    struct weir_resource *resource;
    struct weir_watch *watch; // of one without keys
    struct weir_event **published;
    size_t published_count;
};

struct weir_test_world {
    struct weir_config *config;           // borrowed
    struct weir_test_resource *resources; // as config->resources
    struct weir_program_host host;        // as the run's, and publishes here
    struct weir_guest *guest;
    uint32_t handler;
    size_t sent;                   // events that the guest has published itself
    const char *watched;           // the resource that events are from, by name
    struct weir_test_resource *to; // where returned events go; NULL: nowhere
};

// Puts a folder or a topic in the place of each resource of a configuration, for all its tests.
weir_status weir_test_replace_resources(struct weir_config *config, struct weir_error *err);

// Whether a resource of the configuration has keys, once it was replaced; else it is a topic.
bool weir_test_has_keys(const struct weir_resource_config *resource);

// The guest's configuration that a test is about; NULL where there is no such guest.
const struct weir_guest_config *weir_test_guest(const struct weir_config *config,
                                                const struct weir_test *test);

// Makes the world of a test below `folder`, which is empty: opens the resources, gives them what is
// given, loads the guest with its grants. A world must not be moved. `ret_world` is to be finished
// in each case.
weir_status weir_test_world_make(struct weir_config *config, const struct weir_test *test,
                                 const char *folder, struct weir_engine *engine,
                                 const struct weir_program_host *host,
                                 struct weir_test_world *ret_world, struct weir_error *err);
void weir_test_world_finish(struct weir_test_world *world);

// The resource of that name, which there is.
struct weir_test_resource *weir_test_world_resource(const struct weir_test_world *world,
                                                    const char *name);

// Publishes what a handler returned, where the subscription says so.
weir_status weir_test_world_publish(struct weir_test_world *world, struct weir_event *event,
                                    struct weir_error *err);

#endif

// SPDX-License-Identifier: Apache-2.0
//
// What the parts of the contract suite share: one opened resource on a source of its own, with a
// sink, and running the cases for each provider that can do what they test.
#ifndef WEIR_TESTS_CONTRACT_RIG_H
#define WEIR_TESTS_CONTRACT_RIG_H

#include "contract/fixture.h"
#include "provider/provider.h"
#include "support/sink.h"
#include "unit/test.h"

enum { RIG_EVENT_BYTES_MAX = 1 << 20, RIG_VALUE_BYTES_MAX = 1 << 24 };
extern const struct weir_limits rig_limits; // RIG_VALUE_BYTES_MAX, and all the time there is

struct rig {
    const struct fixture *fixture;
    const struct weir_provider *provider;
    void *source;
    struct weir_resource *resource;
    struct test_sink sink;
};

// The rig of a case; skips the case where this machine has no such source.
struct rig *rig_of(void **state);

// Whether the fixture's mode of the provider can do all of this.
bool rig_can(const struct rig *rig, uint32_t capabilities);

// One more resource on the rig's source. The caller closes it.
struct weir_resource *rig_open(const struct rig *rig, const char *name);
// Closes the rig's resource and opens it again, as a stop and a start do.
void rig_reopen(struct rig *rig);

struct weir_watch *rig_watch(struct rig *rig, const char *key);
struct weir_watch *rig_watch_into(const struct rig *rig, struct weir_resource *resource,
                                  const char *key, struct test_sink *sink,
                                  uint64_t event_bytes_max);

void rig_foreign_set(const struct rig *rig, const char *key, const char *value);
void rig_foreign_remove(const struct rig *rig, const char *key);
void rig_set(const struct rig *rig, const char *key, const char *value);
void rig_check_value(const struct rig *rig, struct weir_str key, struct weir_str value);

// Keys that are hard to keep apart from each other, or from something else.
enum { RIG_ODD_KEYS = 26 };
extern const struct weir_str rig_odd_keys[RIG_ODD_KEYS];

// What a group of cases needs of a provider.
struct rig_needs {
    uint32_t capabilities;
    uint32_t without;     // capabilities that it must not have
    bool foreign_changes; // of the fixture
    bool forgetting;      // of the fixture
};

// Runs the cases, each with a rig of its own, for every provider that has what they need. Returns
// how many failed. Cases are made by RIG_CASE.
int rig_run(const char *name, struct rig_needs needs, const struct CMUnitTest *cases, size_t count);
#define RIG_CASE(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
int rig_setup(void **state);
int rig_teardown(void **state);

#endif

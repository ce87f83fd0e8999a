// SPDX-License-Identifier: Apache-2.0
//
// The fixture of the topic provider: its source is the resource itself, so there is nothing to
// make, and nobody else who could change it.
#include "contract/fixture.h"

#include "unit/test.h"

static void *setup(void) {
    void *source = malloc(1);
    assert_non_null(source);
    return source;
}

static void options(void *source, void (*set)(void *context, const char *name, const char *text),
                    void *context) {
    (void)source;
    (void)set;
    (void)context;
}

const struct fixture fixture_topic = {
    .kind = "topic",
    .setup = setup,
    .teardown = free,
    .options = options,
};

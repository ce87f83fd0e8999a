// SPDX-License-Identifier: Apache-2.0
//
// See lookup.h. What a look-up works on is shared by who waits for it and its thread, and freed by
// whoever is the last to let go of it. getaddrinfo_a(3) was left: what it began cannot be
// abandoned, its memory belongs to it until it is done.
#include "provider/lookup.h"

#include "base/thread.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct weir_lookups {
    atomic_uint holders; // the resource, and each look-up
    atomic_uint under_way;
};

struct lookup {
    atomic_uint holders; // who waits, and the thread
    atomic_bool is_done; // hands over what the thread has written, as done_fd wakes
    struct weir_lookups *lookups;
    int done_fd; // eventfd
    struct addrinfo *addresses;
    int code; // of getaddrinfo
    char *host, *port;
};

struct weir_lookups *weir_lookups_create(void) {
    struct weir_lookups *lookups = calloc(1, sizeof *lookups);
    if (lookups) {
        atomic_init(&lookups->holders, 1);
        atomic_init(&lookups->under_way, 0);
    }
    return lookups;
}

void weir_lookups_destroy(struct weir_lookups *lookups) {
    if (lookups && atomic_fetch_sub(&lookups->holders, 1) == 1) {
        free(lookups);
    }
}

static void let_go(struct lookup *lookup) {
    if (atomic_fetch_sub(&lookup->holders, 1) > 1) {
        return;
    }
    if (lookup->addresses) {
        freeaddrinfo(lookup->addresses);
    }
    if (lookup->done_fd >= 0) {
        close(lookup->done_fd);
    }
    free(lookup->host);
    free(lookup->port);
    atomic_fetch_sub(&lookup->lookups->under_way, 1);
    weir_lookups_destroy(lookup->lookups);
    free(lookup);
}

static const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};

static void *look_up(void *argument) {
    struct lookup *lookup = argument;
    const uint64_t one = 1;
    lookup->code = getaddrinfo(lookup->host, lookup->port, &hints, &lookup->addresses);
    atomic_store(&lookup->is_done, true);
    ssize_t written = write(lookup->done_fd, &one, sizeof one);
    (void)written;
    let_go(lookup);
    return NULL;
}

static weir_status fail_lookup(const char *host, int code, struct weir_error *err) {
    return weir_fail(err, WEIR_UNAVAILABLE, "cannot look up the host \"%s\": %s", host,
                     gai_strerror(code));
}

// Both holders are taken: one for the thread.
static weir_status start(struct lookup *lookup, struct weir_error *err) {
    pthread_t thread;
    int code = weir_thread_start(&thread, "weir:lookup", look_up, lookup);
    if (code != 0) {
        weir_status status =
            weir_fail_errno(err, code, "cannot start a thread to look up \"%s\"", lookup->host);
        let_go(lookup);
        return status;
    }
    pthread_detach(thread);
    return WEIR_OK;
}

static weir_status lookup_new(struct weir_lookups *lookups, const struct weir_place *place,
                              struct lookup **ret_lookup, struct weir_error *err) {
    *ret_lookup = NULL;
    struct lookup *lookup = calloc(1, sizeof *lookup);
    if (!lookup) {
        return weir_fail_no_memory(err, "a look-up");
    }
    atomic_init(&lookup->holders, 1);
    atomic_fetch_add(&lookups->holders, 1);
    lookup->lookups = lookups;
    uint32_t before = atomic_fetch_add(&lookups->under_way, 1);
    lookup->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    lookup->host = strdup(place->host);
    lookup->port = place->port ? strdup(place->port) : NULL;
    weir_status status = WEIR_OK;
    if (before >= WEIR_LOOKUPS_MAX) {
        status = weir_fail(err, WEIR_UNAVAILABLE,
                           "cannot look up the host \"%s\": %d look-ups have not been answered yet",
                           place->host, WEIR_LOOKUPS_MAX);
    } else if (lookup->done_fd < 0) {
        status = weir_fail_errno(err, errno, "cannot look up the host \"%s\"", place->host);
    } else if (!lookup->host || (place->port && !lookup->port)) {
        status = weir_fail_no_memory(err, "a look-up");
    }
    if (status != WEIR_OK) {
        let_go(lookup);
        return status;
    }
    *ret_lookup = lookup;
    return WEIR_OK;
}

static weir_status await(struct lookup *lookup, const struct weir_waiter *waiter) {
    uint64_t done = 0;
    weir_status status = weir_wait(waiter, lookup->done_fd, POLLIN);
    if (status == WEIR_OK &&
        (read(lookup->done_fd, &done, sizeof done) < 0 || !atomic_load(&lookup->is_done))) {
        return WEIR_UNAVAILABLE; // woken for nothing
    }
    return status;
}

static weir_status look_up_elsewhere(struct weir_lookups *lookups, const struct weir_place *place,
                                     const struct weir_waiter *waiter,
                                     struct addrinfo **ret_addresses, struct weir_error *err) {
    struct lookup *lookup;
    weir_status status = lookup_new(lookups, place, &lookup, err);
    if (status != WEIR_OK) {
        return status;
    }
    atomic_fetch_add(&lookup->holders, 1);
    status = start(lookup, err);
    if (status == WEIR_OK) {
        status = await(lookup, waiter);
        if (status == WEIR_UNAVAILABLE) {
            weir_fail(err, status, "cannot look up the host \"%s\": no name server has answered",
                      place->host);
        } else if (status != WEIR_OK) {
            weir_fail(err, status, "looking up the host \"%s\" was given up", place->host);
        } else if (lookup->code != 0) {
            status = fail_lookup(place->host, lookup->code, err);
        } else {
            *ret_addresses = lookup->addresses;
            lookup->addresses = NULL;
        }
    }
    let_go(lookup);
    return status;
}

weir_status weir_lookup(struct weir_lookups *lookups, const struct weir_place *place,
                        const struct weir_waiter *waiter, struct addrinfo **ret_addresses,
                        struct weir_error *err) {
    *ret_addresses = NULL;
    struct addrinfo numeric = hints;
    numeric.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    int code = getaddrinfo(place->host, place->port, &numeric, ret_addresses);
    if (code == EAI_NONAME) { // it is a name
        return look_up_elsewhere(lookups, place, waiter, ret_addresses, err);
    }
    return code == 0 ? WEIR_OK : fail_lookup(place->host, code, err);
}

// SPDX-License-Identifier: Apache-2.0
//
// See progress.h. Any thread.
#include "base/progress.h"

#include "base/clock.h"

void weir_meter_begin(struct weir_meter *meter, const char *what, uint64_t total) {
    if (meter) {
        atomic_store_explicit(&meter->done, 0, memory_order_relaxed);
        atomic_store_explicit(&meter->total, total, memory_order_relaxed);
        atomic_store_explicit(&meter->began_ns, weir_clock_monotonic_ns(), memory_order_relaxed);
        atomic_store_explicit(&meter->what, what, memory_order_release);
    }
}

void weir_meter_estimate(struct weir_meter *meter, uint64_t total) {
    if (meter) {
        atomic_store_explicit(&meter->total, total, memory_order_relaxed);
    }
}

void weir_meter_add(struct weir_meter *meter, uint64_t more) {
    if (meter && atomic_load_explicit(&meter->what, memory_order_relaxed)) {
        atomic_fetch_add_explicit(&meter->done, more, memory_order_relaxed);
    }
}

void weir_meter_end(struct weir_meter *meter) {
    if (meter) {
        atomic_store_explicit(&meter->what, NULL, memory_order_relaxed);
    }
}

void weir_meter_read(struct weir_meter *meter, struct weir_progress *ret_progress) {
    *ret_progress = (struct weir_progress){0};
    if (meter) {
        ret_progress->what = atomic_load_explicit(&meter->what, memory_order_acquire);
        ret_progress->done = atomic_load_explicit(&meter->done, memory_order_relaxed);
        ret_progress->total = atomic_load_explicit(&meter->total, memory_order_relaxed);
        ret_progress->began_ns = atomic_load_explicit(&meter->began_ns, memory_order_relaxed);
    }
}

int64_t weir_progress_left_ms(const struct weir_progress *progress, int64_t now_ns) {
    int64_t passed_ms = (now_ns - progress->began_ns) / WEIR_NS_PER_MS;
    if (!progress->what || progress->total == 0 || progress->done == 0 ||
        passed_ms < WEIR_PROGRESS_LEFT_MS_MIN) {
        return -1;
    }
    if (progress->done >= progress->total) {
        return 0;
    }
    double left = (double)(progress->total - progress->done) / (double)progress->done;
    double left_ms = left * (double)passed_ms;
    return left_ms < (double)WEIR_PROGRESS_LEFT_MS_MAX ? (int64_t)left_ms : -1;
}

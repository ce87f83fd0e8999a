// SPDX-License-Identifier: Apache-2.0
//
// Guests whose main is the export `run`. CASE, given by the build, is one of the functions below.
// Proves: run's answers, good and bad, become weir's.
#include <stdio.h>
#include <weir.h>

// Done at once: weir ends with 0 where this is all there is.
static inline struct weir_result run_ok(void) {
    printf("run was here\n");
    return weir_ok();
}

// weir's error holds this text.
static inline struct weir_result run_err(void) {
    return weir_err("the run failed on purpose");
}

// A text that is no UTF-8.
static inline struct weir_result run_err_bad_utf8(void) {
    return weir_err("bad \xff\xfe text");
}

static inline struct weir_result run_trap(void) {
    __builtin_trap();
}

WEIR_RUN(CASE)

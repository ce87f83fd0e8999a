// SPDX-License-Identifier: Apache-2.0
//
// Named steps on the way of an event, at which a test can have the process die as by kill -9, to
// prove that nothing is lost there. WEIR_DIE_AT="after-commit:3" dies the third time that the step
// is passed. Only in builds with the option `steps`; in others a step is nothing.
#ifndef WEIR_BASE_STEP_H
#define WEIR_BASE_STEP_H

#ifdef WEIR_STEPS
void weir_step(const char *name);
#else
static inline void weir_step(const char *name) {
    (void)name;
}
#endif

#endif

// SPDX-License-Identifier: Apache-2.0
//
// What the sanitizers are told, compiled into every sanitized program, so that it holds however
// the program is started. There are no suppressions here, and none for weir's own code anywhere.
//
// The engine runs guests on their own code pages and turns a fault in them into a trap with a
// signal handler of its own; a fault that is not a guest's it hands on, so it still ends in a
// report. The engine is not instrumented: ThreadSanitizer must not judge what it cannot see.

const char *__asan_default_options(void);
const char *__ubsan_default_options(void);
const char *__tsan_default_options(void);

const char *__asan_default_options(void) {
    return "allow_user_segv_handler=1:detect_leaks=1:strict_string_checks=1:"
           "check_initialization_order=1:detect_stack_use_after_return=0";
}

const char *__ubsan_default_options(void) {
    return "print_stacktrace=1:halt_on_error=1";
}

const char *__tsan_default_options(void) {
    return "ignore_noninstrumented_modules=1:halt_on_error=1:second_deadlock_stack=1";
}

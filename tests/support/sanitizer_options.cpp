// SPDX-License-Identifier: MIT
// What the sanitizers are told in every test program; without a sanitizer nobody calls these.

extern "C" {

const char* __tsan_default_options() {
    // Tests fork while threads run: the child must be able to say what it has to say.
    return "die_after_fork=0:second_deadlock_stack=1";
}

const char* __tsan_default_suppressions() {
    // Copies of an exception share its text, whose references libstdc++ counts atomically, where nobody sees it.
    return "race:std::runtime_error::~runtime_error";
}

const char* __asan_default_options() { return "detect_stack_use_after_return=1:strict_string_checks=1"; }

const char* __ubsan_default_options() { return "print_stacktrace=1"; }

}  // extern "C"

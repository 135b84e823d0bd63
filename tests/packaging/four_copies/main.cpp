// SPDX-License-Identifier: MIT
#include <cstdio>

using Use = bool(const char* file, bool (*then)(const char*));
extern "C" Use use_plain, use_version, use_debug, use_flags;

int main() {
    std::remove("tasks.db");
    static const auto last = [](const char* file) { return use_flags(file, nullptr); };
    static const auto third = [](const char* file) { return use_debug(file, last); };
    static const auto second = [](const char* file) { return use_version(file, third); };
    return use_plain("tasks.db", second) ? 0 : 1;
}

// SPDX-License-Identifier: MIT
#pragma once
// What nearly every test includes, compiled once per build. No header of the library: it would hide what a test forgot.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <nlohmann/json.hpp>

#include <backlite_catch.hpp>

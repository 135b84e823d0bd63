// SPDX-License-Identifier: MIT
// The library's headers after those of a platform that defines such macros, in a program that works all the same.
#include <bits/stdc++.h>  // the standard library itself would not survive them

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#define min(a, b) hostile
#define max(a, b) hostile
#define ERROR hostile
#define I hostile
#define DELETE hostile
#define OK hostile
#define DEBUG hostile
#define small hostile
#define interface hostile
#define major hostile
#define minor hostile

#include <backlite/backlite.hpp>
#include <backlite/testing/manual_clock.hpp>

#include "host.cpp"

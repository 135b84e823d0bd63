// SPDX-License-Identifier: MIT
// The library's headers after the macros of platforms and frameworks, in a program that works all the same. The
// standard library, the packages and the system's headers come first: they would not survive them.
#include <bits/stdc++.h>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/types.h>
#include <unistd.h>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <nlohmann/json.hpp>

// Windows
#define min(a, b) hostile
#define max(a, b) hostile
#define small hostile
#define hyper hostile
#define near hostile
#define far hostile
#define NEAR hostile
#define FAR hostile
#define interface hostile
#define ERROR hostile
#define NO_ERROR hostile
#define DELETE hostile
#define IGNORE hostile
#define INFINITE hostile
#define IN hostile
#define OUT hostile
#define OPTIONAL hostile
#define CONST hostile
#define VOID hostile
#define BOOL hostile
#define TRUE hostile
#define FALSE hostile
#define THIS hostile
#define CALLBACK hostile
#define DOMAIN hostile
#define OVERFLOW hostile
#define STRICT hostile
#define TRANSPARENT hostile
#define GetObject hostile
#define GetMessage hostile
#define CreateEvent hostile
#define Yield() hostile

// Qt
#define signals hostile
#define slots hostile
#define emit hostile
#define foreach hostile
#define forever hostile

// Unreal, old Apple
#define check(...) hostile
#define checkf(...) hostile
#define verify(...) hostile
#define require(...) hostile
#define ensure(...) hostile
#define check_noerr(...) hostile
#define verify_noerr(...) hostile
#define require_noerr(...) hostile
#define debug_string(...) hostile
#define nil hostile
#define TEXT(x) hostile
#define PI hostile
#define FORCEINLINE hostile

// X11
#define None hostile
#define Status hostile
#define Bool hostile
#define True hostile
#define False hostile
#define Success hostile
#define Always hostile
#define Unsorted hostile
#define Complex hostile
#define Expose hostile
#define KeyPress hostile
#define CursorShape hostile
#define Above hostile
#define Below hostile
#define Convex hostile

// Arduino
#define F(x) hostile
#define B0 hostile
#define B1 hostile
#define HIGH hostile
#define LOW hostile
#define INPUT hostile
#define OUTPUT hostile
#define DEFAULT hostile
#define EXTERNAL hostile
#define SERIAL hostile
#define DISPLAY hostile
#define abs(x) hostile
#define bit(b) hostile
#define bitRead(value, b) hostile
#define constrain(x, low, high) hostile
#define highByte(w) hostile
#define lowByte(w) hostile
#define word(...) hostile
#define radians(x) hostile
#define round(x) hostile
#define sq(x) hostile
#define interrupts() hostile

// logging, testing and the rest
#define LOG(...) hostile
#define log(...) hostile
#define trace(...) hostile
#define debug(...) hostile
#define info(...) hostile
#define warn(...) hostile
#define warning(...) hostile
#define error(...) hostile
#define panic(...) hostile
#define print(...) hostile
#define CHECK(...) hostile
#define expect(...) hostile
#define fail(...) hostile
#define assume(...) hostile
#define likely(x) hostile
#define unlikely(x) hostile
#define unreachable(...) hostile
#define swap(a, b) hostile
#define container_of(a, b, c) hostile
#define ARRAY_SIZE(x) hostile
#define BLOCK hostile
#define STATE hostile
#define DEBUG hostile
#define INFO hostile
#define WARNING hostile
#define OK hostile
#define I hostile
#define linux hostile
#define unix hostile
#define major hostile
#define minor hostile

#include <backlite/adder.hpp>
#include <backlite/admin.hpp>
#include <backlite/backlite.hpp>
#include <backlite/flow.hpp>
#include <backlite/schedule.hpp>
#include <backlite/testing/manual_clock.hpp>
#include <backlite/testing/own_folder.hpp>
#include <backlite/testing/stepped_session.hpp>
#include <backlite/testing/test_client.hpp>
#include <backlite/ui/dashboard.hpp>
#include <backlite/ui/mount.hpp>

#include "host.cpp"

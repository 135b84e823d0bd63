// SPDX-License-Identifier: MIT
#pragma once
// Forward declarations of the public types, for headers that only name them.

#include <backlite/version.hpp>

namespace backlite {
inline namespace BACKLITE_VERSION_NAMESPACE {

class AddOp;
class Adder;
class Admin;
class Backoff;
class BatchContext;
class Client;
class ClientHandle;
class Clock;
class Context;
class Cron;
class Error;
class Flow;
class Logger;
class Outcome;
class TaskId;
class Transaction;

namespace engine {
class Engine;
class FlowState;
}  // namespace engine
namespace testing {
class TestClient;
}

struct BatchOptions;
struct ClientConfig;
struct Event;
struct Every;
struct QueueConfig;
struct Retention;
struct Schedule;
struct ScheduleInfo;

enum class Misfire;
enum class Overlap;

template <class T>
class BatchQueue;
template <class T>
class Queue;
template <class T>
struct TaskTraits;

}  // namespace BACKLITE_VERSION_NAMESPACE
}  // namespace backlite

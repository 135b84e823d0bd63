// SPDX-License-Identifier: MIT
#pragma once
// An operator new that refuses when a test says so. It stands in for that of the whole program: for tests/memory alone,
// and there for one file, since an operator new cannot be inline.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <string_view>

#include <pthread.h>

namespace backlite_test {

/// While it lives, the n-th operator new of some threads throws std::bad_alloc, once. Threads: any; one at a time.
class ScarceMemory {
public:
    enum class Of {
        this_thread,      ///< of whoever makes it
        library_threads,  ///< of all that are named "backlite-…"
    };

    ScarceMemory(Of whose, std::uint64_t nth) noexcept {
        calls_ = 0;
        met_ = false;
        mine_ = whose == Of::this_thread;
        library_ = whose == Of::library_threads;
        nth_ = nth;
    }
    ScarceMemory(const ScarceMemory&) = delete;
    ScarceMemory& operator=(const ScarceMemory&) = delete;
    ~ScarceMemory() {
        nth_ = 0;
        library_ = false;
        mine_ = false;
    }

    /// Whether the n-th has come.
    [[nodiscard]] bool met() const noexcept { return met_; }
    /// How many have come so far.
    [[nodiscard]] std::uint64_t calls() const noexcept { return calls_; }

    /// What this thread allocates in such a scope is the test's own, and neither counts nor fails.
    class Spared {
    public:
        Spared() noexcept { ++spared_; }
        Spared(const Spared&) = delete;
        Spared& operator=(const Spared&) = delete;
        ~Spared() { --spared_; }
    };

    /// For operator new.
    [[nodiscard]] static bool refuses() noexcept {
        if (nth_.load(std::memory_order_relaxed) == 0 || spared_ > 0) return false;
        if (!mine_ && !(library_ && on_library_thread())) return false;
        if (++calls_ != nth_) return false;
        met_ = true;
        return true;
    }

private:
    static bool on_library_thread() noexcept {
        static thread_local bool known = false;
        if (known) return true;
        char name[16] = {};
        known = pthread_getname_np(pthread_self(), name, sizeof name) == 0 &&
                std::string_view{name}.substr(0, 9) == "backlite-";
        return known;
    }

    static inline std::atomic<std::uint64_t> nth_{0};  // 0: nothing fails
    static inline std::atomic<std::uint64_t> calls_{0};
    static inline std::atomic<bool> met_{false};
    static inline std::atomic<bool> library_{false};
    static inline thread_local bool mine_ = false;
    static inline thread_local int spared_ = 0;
};

[[nodiscard]] inline void* allocate(std::size_t size, std::size_t alignment) {
    if (ScarceMemory::refuses()) throw std::bad_alloc();
    void* memory = nullptr;
    if (alignment <= alignof(std::max_align_t)) {
        memory = std::malloc(size == 0 ? 1 : size);
    } else if (::posix_memalign(&memory, alignment, size) != 0) {
        memory = nullptr;
    }
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
}

}  // namespace backlite_test

// The thread sanitizer has an operator new of its own that nothing can stand in for: there nothing is refused.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define BACKLITE_TEST_PLENTY_OF_MEMORY
#endif
#elif defined(__SANITIZE_THREAD__)
#define BACKLITE_TEST_PLENTY_OF_MEMORY
#endif

#ifdef BACKLITE_TEST_PLENTY_OF_MEMORY
namespace backlite_test {
inline constexpr bool memory_can_be_scarce = false;
}
#else
namespace backlite_test {
inline constexpr bool memory_can_be_scarce = true;
}
void* operator new(std::size_t size) { return backlite_test::allocate(size, 1); }
void* operator new[](std::size_t size) { return backlite_test::allocate(size, 1); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
    return backlite_test::ScarceMemory::refuses() ? nullptr : std::malloc(size == 0 ? 1 : size);
}
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
    return backlite_test::ScarceMemory::refuses() ? nullptr : std::malloc(size == 0 ? 1 : size);
}
void* operator new(std::size_t size, std::align_val_t alignment) {
    return backlite_test::allocate(size, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
    return backlite_test::allocate(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
#endif

// SPDX-License-Identifier: MIT
#pragma once
// Memory that a test shares with the processes it forks, and that outlives them.

#include <cstddef>
#include <memory>
#include <stdexcept>

#include <sys/mman.h>

namespace backlite_test {

/// `count` objects of type T, value-initialised, seen by every process forked from here on. What they hold must not
/// point to memory that is not shared; they are not destroyed.
template <class T>
class SharedMemory {
public:
    explicit SharedMemory(std::size_t count = 1) : size_(count * sizeof(T)) {
        void* const at = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED) throw std::runtime_error("mmap");
        objects_ = static_cast<T*>(at);
        std::uninitialized_value_construct_n(objects_, count);
    }
    SharedMemory(const SharedMemory&) = delete;
    SharedMemory& operator=(const SharedMemory&) = delete;
    ~SharedMemory() { ::munmap(objects_, size_); }

    [[nodiscard]] T* get() const noexcept { return objects_; }
    [[nodiscard]] T& operator*() const noexcept { return *objects_; }
    [[nodiscard]] T* operator->() const noexcept { return objects_; }
    [[nodiscard]] T& operator[](std::size_t index) const noexcept { return objects_[index]; }

private:
    std::size_t size_;
    T* objects_ = nullptr;
};

}  // namespace backlite_test

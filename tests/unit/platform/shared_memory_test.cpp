// SPDX-License-Identifier: MIT
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <backlite/platform/file.hpp>
#include <backlite/platform/file_lock.hpp>
#include <backlite/platform/last_error.hpp>
#include <backlite/platform/shared_memory.hpp>

#include <backlite_catch.hpp>
#include <child.hpp>
#include <temp_folder.hpp>
#include <tiny_disk.hpp>

namespace {

using namespace backlite;
using backlite_test::in_child;
using backlite_test::kill_and_wait;
using backlite_test::start_child;
using backlite_test::TempFolder;
using backlite_test::TinyDisk;
using platform::SharedMemory;
using Fault = SharedMemory::Fault;
namespace fs = std::filesystem;

constexpr std::uint64_t region = 65'536;
constexpr platform::FileAccess ours{.mode = 0600};

struct Mapping {
    explicit Mapping(const TempFolder& folder) : file(folder.file("shared")) {
        if (!file.open_or_make(ours)) std::abort();
    }
    [[nodiscard]] Fault map(std::uint64_t offset = region, std::size_t size = 100) {
        return memory.map(file, offset, size);
    }
    void put(std::size_t at, char c) const { memory.data()[at] = static_cast<std::byte>(c); }
    [[nodiscard]] char get(std::size_t at) const { return static_cast<char>(memory.data()[at]); }

    platform::File file;
    SharedMemory memory{};
};

// What the file holds at a place; '-' where it ends before.
char stored(const platform::File& file, std::uint64_t at) {
    char c = '\0';
    return file.read_at(at, &c, 1) == 1U ? c : '-';
}

int mappings_in(const TempFolder& folder) {
    std::ifstream in("/proc/self/maps");
    int count = 0;
    for (std::string line; std::getline(in, line);) count += line.find(folder.name()) != std::string::npos ? 1 : 0;
    return count;
}

TEST_CASE("SharedMemory: two mappings of a part and those who read the file see each other's stores") {
    const TempFolder folder;
    Mapping one(folder);
    Mapping other(folder);
    REQUIRE(one.map() == Fault::none);
    REQUIRE(other.map() == Fault::none);
    one.put(7, 'a');
    CHECK(other.get(7) == 'a');
    other.put(7, 'b');
    CHECK(one.get(7) == 'b');
    CHECK(stored(one.file, region + 7) == 'b');
    REQUIRE(one.file.write_at(region + 7, "c", 1));
    CHECK(other.get(7) == 'c');
}

TEST_CASE("SharedMemory: a store is seen by another process at once, and outlives the one that made it") {
    const TempFolder folder;
    const Mapping reader(folder);
    backlite_test::Channel channel;
    const pid_t pid = start_child([&] {
        channel.be_child();
        Mapping writer(folder);
        if (writer.map() != Fault::none) return 1;
        writer.put(7, 'a');
        channel.tell_parent('r');
        static_cast<void>(channel.await_parent());
        return 0;
    });
    channel.be_parent();
    REQUIRE(channel.await_child() == 'r');
    CHECK(stored(reader.file, region + 7) == 'a');
    kill_and_wait(pid);
    CHECK(stored(reader.file, region + 7) == 'a');
}

TEST_CASE("SharedMemory: what is mapped is zero, whatever was there, and its neighbours stay") {
    const TempFolder folder;
    std::ofstream(folder.file("shared")) << std::string(4 * region, 'x');
    Mapping mapping(folder);
    REQUIRE(mapping.map(region, region) == Fault::none);
    CHECK(mapping.get(0) == '\0');
    CHECK(mapping.get(region - 1) == '\0');
    CHECK(stored(mapping.file, region - 1) == 'x');
    CHECK(stored(mapping.file, 2 * region) == 'x');
}

TEST_CASE("SharedMemory: a second map replaces the first, and unmapping leaves the file as it is") {
    const TempFolder folder;
    Mapping mapping(folder);
    CHECK(mapping.memory.data() == nullptr);
    REQUIRE(mapping.map() == Fault::none);
    mapping.put(0, 'a');
    CHECK(mappings_in(folder) == 1);
    REQUIRE(mapping.map(2 * region) == Fault::none);
    CHECK(mappings_in(folder) == 1);
    CHECK(stored(mapping.file, region) == 'a');
    mapping.memory.unmap();
    mapping.memory.unmap();
    CHECK(mappings_in(folder) == 0);
    CHECK(mapping.memory.data() == nullptr);
}

TEST_CASE("SharedMemory: maps the file that is open, also when another has its name by now") {
    const TempFolder folder;
    Mapping mapping(folder);
    fs::rename(folder.file("shared"), folder.file("away"));
    const Mapping other(folder);
    REQUIRE(mapping.map() == Fault::none);
    mapping.put(0, 'a');
    CHECK(stored(mapping.file, region) == 'a');
    CHECK(other.file.size() == 0U);
}

TEST_CASE("SharedMemory: a mapping neither drops a lock of its file nor keeps one alive") {
    const TempFolder folder;
    const Mapping watcher(folder);
    const platform::FileLocks seen(watcher.file);
    SharedMemory memory;
    {
        platform::File file(folder.file("shared"));
        REQUIRE(file.open_or_make(ours));
        platform::FileLocks locks(file);
        REQUIRE(locks.try_take(region) == true);
        REQUIRE(memory.map(file, region, 100) == Fault::none);
        CHECK(seen.held_by_other(region) == true);
        memory.unmap();
        CHECK(seen.held_by_other(region) == true);
        REQUIRE(memory.map(file, region, 100) == Fault::none);
    }
    CHECK(memory.data() != nullptr);
    CHECK(seen.held_by_other(region) == false);
}

TEST_CASE("SharedMemory: is not mapped in a forked child, where its end unmaps nothing of the child's") {
    const TempFolder folder;
    auto mapping = std::make_unique<Mapping>(folder);
    REQUIRE(mapping->map() == Fault::none);
    void* const at = mapping->memory.data();
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    CHECK(in_child([&] {
              if (::msync(at, page, MS_ASYNC) == 0) return 1;  // something is mapped there
              void* const own =
                  ::mmap(at, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
              if (own != at) return 2;
              mapping.reset();
              return ::msync(at, page, MS_ASYNC) == 0 ? 0 : 3;
          }) == 0);
    CHECK(::msync(at, page, MS_ASYNC) == 0);
}

TEST_CASE("SharedMemory: what fails is told apart, and nothing is mapped then") {
    const TempFolder folder;
    Mapping mapping(folder);
    REQUIRE(mapping.map() == Fault::none);
    platform::File closed(folder.file("none"));
    CHECK(mapping.memory.map(closed, 0, 1) == Fault::allocate);
    CHECK(platform::last_error() == EBADF);
    CHECK(mapping.memory.data() == nullptr);
    CHECK(mapping.memory.keep_room(closed) == Fault::none);  // nothing is mapped
    REQUIRE(mapping.map() == Fault::none);
    CHECK(mapping.memory.keep_room(closed) == Fault::look);
}

TEST_CASE("SharedMemory: can be written again after the file was cut short and keep_room was called") {
    const TempFolder folder;
    CHECK(in_child([&folder] {  // the fault would be a SIGBUS
              Mapping mapping(folder);
              if (mapping.map() != Fault::none) return 1;
              mapping.put(0, 'a');
              if (mapping.memory.keep_room(mapping.file) != Fault::none || mapping.get(0) != 'a') return 2;
              fs::resize_file(folder.file("shared"), 0);
              if (mapping.memory.keep_room(mapping.file) != Fault::none || mapping.get(0) != '\0') return 3;
              mapping.put(0, 'b');
              return stored(mapping.file, region) == 'b' ? 0 : 4;
          }) == 0);
}

TEST_CASE("SharedMemory: on a full disk map is an error and no SIGBUS, and works once there is room") {
    const TinyDisk disk;
    if (!disk.mounted()) {
        WARN("skipped: this process may not mount a small file system");
        return;
    }
    CHECK(in_child([&disk] {
              Mapping mapping(disk.folder());
              disk.fill();
              if (mapping.map(0, region) != Fault::allocate || !platform::says_full(platform::last_error())) return 1;
              fs::remove(disk.ballast());
              if (mapping.map(0, region) != Fault::none) return 2;
              mapping.put(region - 1, 'a');
              return 0;
          }) == 0);
}

TEST_CASE("SharedMemory: can be written to its last page when the disk has become full") {
    const TinyDisk disk;
    if (!disk.mounted()) {
        WARN("skipped: this process may not mount a small file system");
        return;
    }
    for (const std::size_t size : {std::size_t{65} * 64, std::size_t{region}}) {
        CAPTURE(size);
        CHECK(in_child([&disk, size] {  // the fault would be a SIGBUS
                  Mapping mapping(disk.folder());
                  if (mapping.map(region, size) != Fault::none) return 1;
                  disk.fill();
                  for (std::size_t at = 0; at < size; ++at) mapping.put(at, 'a');
                  return stored(mapping.file, region + size - 1) == 'a' ? 0 : 2;
              }) == 0);
        fs::remove(disk.ballast());
    }
}

}  // namespace

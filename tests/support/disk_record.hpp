// SPDX-License-Identifier: MIT
#pragma once
// What reached a disk, in order, and what a power cut would have left of it.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace backlite_test {

/// Every write, truncation, sync and removal of the files that FaultyVfs opened. Positions in it serve as moments: what
/// was acknowledged at position p must survive a cut at p or later.
///
/// The disk it imitates: a sync makes durable all that was written to its file before it began. Of what came after,
/// each sector of 512 bytes independently holds what any of the writes left in it, or what it held before. So writes
/// are lost, torn and reordered. A file's length, a truncation or a removal that was not synced may or may not be
/// there. Folders keep the names of new files. Threads: any. REQUIRES: the files do not exist when recording begins.
class DiskRecord {
public:
    /// How many events there are.
    [[nodiscard]] std::size_t position() const {
        const std::lock_guard lock(mutex_);
        return events_.size();
    }

    /// Whether a cut at this position hits a commit: its first write has reached the log, and it has not returned.
    [[nodiscard]] bool committing(std::size_t cut) const {
        const std::lock_guard lock(mutex_);
        bool written = false;
        for (std::size_t i = cut; i-- > 0;) {
            if (events_[i].kind == Kind::end_writing) return false;
            if (events_[i].kind == Kind::begin_writing) return written;
            written = written || events_[i].kind == Kind::write;
        }
        return written;
    }

    /// Writes the files into a folder as a power cut after the first `cut` events may have left them. `share`: how much
    /// of what was not synced is there, 0 to 1; with 1 the files are as they were at that moment.
    void rebuild(std::size_t cut, double share, std::mt19937_64& random, const std::string& folder) const {
        const std::lock_guard lock(mutex_);
        std::vector<Left> files(names_.size());
        for (std::size_t i = 0; i < cut; ++i) {
            const Event& event = events_[i];
            switch (event.kind) {
                case Kind::write:
                case Kind::truncate: files[event.file].unsynced.push_back(i); break;
                case Kind::sync:
                    settle(files[event.file], event.offset);
                    for (Left& file : files) file.gone = file.gone || file.removed;
                    break;
                case Kind::remove: files[event.file].removed = true; break;
                case Kind::open: files[event.file].created = true; break;
                case Kind::begin_writing:
                case Kind::end_writing: break;
            }
        }
        std::map<std::string, const Left*> last;
        for (std::size_t i = 0; i < files.size(); ++i) {
            if (!files[i].created) continue;
            tear(files[i], share, random);
            const std::string name = std::filesystem::path(names_[i]).filename().string();
            // A removal that did not reach the disk leaves the file, unless another has taken its name.
            if (files[i].gone || (files[i].removed && chance(share, random))) {
                last.erase(name);
            } else {
                last[name] = &files[i];
            }
        }
        for (const auto& [name, left] : last) {
            std::ofstream(folder + '/' + name, std::ios::binary)
                .write(left->bytes.data(), static_cast<std::streamsize>(left->bytes.size()));
        }
    }

    // ---- for FaultyVfs ----

    /// Calls `open_real()`, and gives the file that it opened a number other than 0; 0 if it did not open one.
    template <class Open>
    std::size_t open(const char* name, Open&& open_real) {
        const std::lock_guard lock(mutex_);
        const bool created = !std::filesystem::exists(name);
        if (!open_real()) return 0;
        std::size_t file = names_.size();
        while (!created && file-- > 0 && names_[file] != name) {
        }
        if (created) {
            names_.emplace_back(name);
            events_.push_back({Kind::open, file, 0, {}});
        }
        return file + 1;
    }
    void write(std::size_t file, std::string_view bytes, std::size_t offset) {
        append({Kind::write, file - 1, offset, std::string{bytes}});
    }
    void truncate(std::size_t file, std::size_t size) { append({Kind::truncate, file - 1, size, {}}); }
    /// `begun`: the position when the sync began.
    void sync(std::size_t file, std::size_t begun) { append({Kind::sync, file - 1, begun, {}}); }
    void remove(const char* name) {
        const std::lock_guard lock(mutex_);
        for (std::size_t file = names_.size(); file-- > 0;) {
            if (names_[file] == name) return events_.push_back({Kind::remove, file, 0, {}});
        }
    }
    void begin_writing() { append({Kind::begin_writing, 0, 0, {}}); }
    void end_writing() { append({Kind::end_writing, 0, 0, {}}); }

private:
    static constexpr std::size_t sector = 512;

    enum class Kind { open, write, truncate, sync, remove, begin_writing, end_writing };

    struct Event {
        Kind kind;
        std::size_t file;
        std::size_t offset;  ///< truncate: the new size; sync: the position when it began
        std::string bytes;
    };

    /// One file at the moment of the cut.
    struct Left {
        bool created = false;
        bool removed = false;
        bool gone = false;                    ///< removed, and that is durable
        std::string bytes{};                  ///< what is durable
        std::vector<std::size_t> unsynced{};  ///< the events after that
    };

    void append(Event event) {
        const std::lock_guard lock(mutex_);
        events_.push_back(std::move(event));
    }

    /// What came before position `begun` is durable.
    void settle(Left& left, std::size_t begun) const {
        const auto later = std::lower_bound(left.unsynced.begin(), left.unsynced.end(), begun);
        std::for_each(left.unsynced.begin(), later, [&](std::size_t i) {
            const Event& event = events_[i];
            if (event.kind == Kind::truncate) {
                left.bytes.resize(event.offset);
            } else {
                put(left.bytes, event, event.offset, event.offset + event.bytes.size());
            }
        });
        left.unsynced.erase(left.unsynced.begin(), later);
    }

    /// Decides for each sector which of the writes to it are there.
    void tear(Left& left, double share, std::mt19937_64& random) const {
        std::map<std::size_t, std::vector<std::size_t>> sectors;
        std::size_t length = left.bytes.size();
        for (const std::size_t i : left.unsynced) {
            const Event& event = events_[i];
            if (event.kind == Kind::truncate) {
                if (!chance(share, random)) continue;
                length = event.offset;
                left.bytes.resize((std::min)(left.bytes.size(), length));
                sectors.erase(sectors.lower_bound(length / sector), sectors.end());
                continue;
            }
            const std::size_t end = event.offset + event.bytes.size();
            for (std::size_t s = event.offset / sector; s * sector < end; ++s) sectors[s].push_back(i);
            length = (std::max)(length, end);
        }
        for (const auto& [s, writes] : sectors) {
            const std::size_t there = chance(share, random) ? writes.size() : random() % writes.size();
            for (std::size_t i = 0; i < there; ++i) {
                const Event& event = events_[writes[i]];
                put(left.bytes, event, (std::max)(event.offset, s * sector),
                    (std::min)(event.offset + event.bytes.size(), (s + 1) * sector));
            }
        }
        // The length may have reached the disk before what lies there.
        if (chance(share, random)) left.bytes.resize((std::max)(left.bytes.size(), length));
    }

    static bool chance(double share, std::mt19937_64& random) {
        return std::uniform_real_distribution<>{}(random) < share;  // never 1 itself
    }

    /// Puts the part of a write that lies between two offsets into a file.
    static void put(std::string& file, const Event& event, std::size_t from, std::size_t to) {
        if (file.size() < to) file.resize(to);
        event.bytes.copy(file.data() + from, to - from, from - event.offset);
    }

    mutable std::mutex mutex_{};
    // guarded by mutex_
    std::vector<std::string> names_{};  ///< of each file; one that was removed and made again counts twice
    std::vector<Event> events_{};
};

}  // namespace backlite_test

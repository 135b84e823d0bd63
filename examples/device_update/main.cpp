// SPDX-License-Identifier: MIT
// device_update FOLDER IMAGE: writes a new image into the slot of a device that is not in use, and starts from it. The
// power may fail at any time: run it again without IMAGE, and it goes on where it was. An image whose sum is wrong, or
// that does not start, leaves the device as it is.
//
// The folder stands for the device: of `slot-a` and `slot-b` the file `active` names the one in use; a table of
// device.db has a line for each update. An image is a file whose first line is the sum of its other bytes. POWER=N in
// the environment kills the program at the N-th thing that it does.

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>

#include <backlite/backlite.hpp>
#include <backlite/flow.hpp>

using namespace std::chrono_literals;
namespace fs = std::filesystem;

struct Update {
    std::string image{};
    using Result = std::string;  // the slot that is in use afterwards
    static backlite::QueueConfig config() {
        return {.name = "update",
                .max_attempts = 3,
                .backoff = 1s,
                .retention = backlite::Retention{.duration = 720h},
                .max_crashes = 1'000};  // the power's fault, and not the update's
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Update, image)

/// The device: files, and a power that may fail.
class Device {
public:
    explicit Device(fs::path folder) : folder_(std::move(folder)) {
        if (const char* const power = std::getenv("POWER")) power_ = std::atoi(power);
    }

    [[nodiscard]] fs::path path(const std::string& name) const { return folder_ / name; }
    [[nodiscard]] std::string database() const { return path("device.db").string(); }

    [[nodiscard]] static std::string read(const fs::path& path) {
        std::ifstream file(path, std::ios::binary);
        if (!file) throw std::runtime_error(path.string() + " cannot be read");
        return {std::istreambuf_iterator<char>(file), {}};
    }

    /// There is the old file or the new one, and nothing between, whenever the power fails.
    void write(const std::string& name, const std::string& bytes) {
        const std::string beside = path(name + ".new").string();
        const int file = ::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        const bool written =
            file >= 0 && ::write(file, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size());
        const bool kept = written && ::fsync(file) == 0;
        if (file >= 0) ::close(file);
        if (!kept) throw std::runtime_error(beside + " cannot be written");
        tick();
        fs::rename(beside, path(name));
        const int folder = ::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (folder >= 0) {
            ::fsync(folder);
            ::close(folder);
        }
        tick();
    }

    void tick() {
        if (power_ > 0 && --power_ == 0) ::kill(::getpid(), SIGKILL);
    }

private:
    fs::path folder_;
    int power_ = 0;
};

std::string sum_of(const std::string& image) {
    std::uint32_t sum = 0;
    for (std::size_t i = image.find('\n') + 1; i < image.size(); ++i) {
        sum = sum * 31 + static_cast<unsigned char>(image[i]);
    }
    return std::to_string(sum);
}

/// The flow: read it as if the power never failed.
std::string update(backlite::Flow& flow, const Update& task, Device& device, SQLite::Database& db) {
    const auto used = flow.step("look", [&] { return Device::read(device.path("active")); });
    const std::string spare = used == "slot-a" ? "slot-b" : "slot-a";

    flow.step("write", [&] { device.write(spare, Device::read(task.image)); });
    flow.step("check", {.max_attempts = 1}, [&] {
        const std::string image = Device::read(device.path(spare));
        if (image.substr(0, image.find('\n')) != sum_of(image)) throw std::runtime_error("the sum is wrong");
    });

    flow.undo("back", [&device, used] { device.write("active", used); });
    flow.step("switch", [&] { device.write("active", spare); });
    flow.step("start", {.max_attempts = 2, .backoff = 100ms}, [&] {
        device.tick();
        const std::string image = Device::read(device.path(spare));
        if (image.find("broken") != std::string::npos) throw std::runtime_error("it does not start");
    });
    flow.tx("note", db, [&](SQLite::Database& inside) {  // one line for each update, however often the power fails
        SQLite::Statement insert(inside, "INSERT INTO installed (image) VALUES (?)");
        insert.bind(1, task.image);
        insert.exec();
        device.tick();
    });
    device.tick();
    return spare;
}

int main(int count, char** values) {
    if (count != 2 && count != 3) return 2;
    Device device(values[1]);
    backlite::Client client{{.database = device.database(), .num_workers = 1}};  // Durability::full: it is on disk
    SQLite::Database db(device.database(), SQLite::OPEN_READWRITE, 5'000);
    db.exec("CREATE TABLE IF NOT EXISTS installed (image TEXT NOT NULL)");
    client.register_flow<Update>(
        [&](backlite::Flow& flow, const Update& task) { return update(flow, task, device, db); });
    if (count == 3) client.add(Update{values[2]}).save();
    client.start();
    while (!client.counts().empty()) std::this_thread::sleep_for(10ms);
    const bool clean = client.stop(10s);
    fmt::print("in use: {}, installed: {}\n", Device::read(device.path("active")),
               db.execAndGet("SELECT count(*) FROM installed").getInt());
    return clean ? 0 : 1;
}

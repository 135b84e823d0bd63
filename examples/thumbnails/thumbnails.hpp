// SPDX-License-Identifier: MIT
#pragma once
// Pictures of a folder become thumbnails, many at a time, and those one sheet: a flow that fans out and in.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <backlite/backlite.hpp>
#include <backlite/flow.hpp>

namespace gallery {

namespace fs = std::filesystem;

/// A grey picture, in files as binary PGM.
struct Picture {
    int width = 0, height = 0;
    std::string pixels{};
};

inline Picture read(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    std::string magic;
    int levels = 0;
    Picture picture;
    if (!(in >> magic >> picture.width >> picture.height >> levels) || magic != "P5" || levels != 255 ||
        picture.width < 1 || picture.height < 1 || picture.width > 20'000 || picture.height > 20'000) {
        throw std::runtime_error(file.filename().string() + " is no picture");
    }
    in.get();
    picture.pixels.resize(static_cast<std::size_t>(picture.width) * static_cast<std::size_t>(picture.height));
    if (!in.read(picture.pixels.data(), static_cast<std::streamsize>(picture.pixels.size()))) {
        throw std::runtime_error(file.filename().string() + " is cut off");
    }
    return picture;
}

/// All of it or nothing is there afterwards, so that it may be written again after a crash.
inline void write(const fs::path& file, const Picture& picture) {
    const fs::path part = file.string() + ".part";
    std::ofstream out(part, std::ios::binary);
    out << "P5 " << picture.width << ' ' << picture.height << " 255\n" << picture.pixels;
    out.close();
    if (!out) throw std::runtime_error("cannot write " + file.string());
    fs::rename(part, file);
}

constexpr int side = 16;  // of a thumbnail

/// One thumbnail: a task of its own, which any worker of any process may take.
struct Thumbnail {
    std::string picture{};
    using Result = std::string;  // its file
    static backlite::QueueConfig config() { return {.name = "thumbnail", .max_attempts = 2}; }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Thumbnail, picture)

inline std::string make(const Thumbnail& task) {
    const Picture large = read(task.picture);
    Picture little{side, side, {}};
    for (int y = 0; y < side; ++y) {
        for (int x = 0; x < side; ++x) {
            const int at = y * large.height / side * large.width + x * large.width / side;
            little.pixels += large.pixels[static_cast<std::size_t>(at)];
        }
    }
    const std::string file = fs::path(task.picture).replace_extension(".thumb").string();
    write(file, little);
    return file;
}

struct Gallery {
    std::string folder{};
    using Result = int;  // how many pictures are on the sheet
    static backlite::QueueConfig config() {
        return {.name = "gallery", .retention = backlite::Retention{.data = backlite::RetainData{}}};
    }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Gallery, folder)

inline int process(backlite::Flow& flow, const Gallery& gallery) {
    const auto files = flow.step("list", [&] {
        std::vector<std::string> found;
        for (const auto& entry : fs::directory_iterator(gallery.folder)) {
            if (entry.path().extension() == ".pgm") found.push_back(entry.path().string());
        }
        std::sort(found.begin(), found.end());
        return found;
    });
    std::vector<Thumbnail> tasks;
    for (const std::string& file : files) tasks.push_back({file});
    const std::vector<std::string> thumbnails = flow.map("thumbnails", tasks);  // no worker waits for them

    return flow.step("sheet", [&] {
        Picture sheet{side, side * static_cast<int>(thumbnails.size()), {}};
        for (const std::string& file : thumbnails) sheet.pixels += read(file).pixels;
        write(fs::path(gallery.folder) / "sheet", sheet);
        return static_cast<int>(thumbnails.size());
    });
}

}  // namespace gallery

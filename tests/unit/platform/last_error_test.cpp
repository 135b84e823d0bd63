// SPDX-License-Identifier: MIT
#include <cerrno>

#include <backlite/platform/last_error.hpp>

#include <backlite_catch.hpp>

namespace {

using namespace backlite;

TEST_CASE("last_error: is errno, and what it says of absence and of room") {
    for (const int error : {ENOENT, ENOTDIR, ENOSPC, EDQUOT, EFBIG, EACCES, EIO, ELOOP, EMFILE}) {
        CAPTURE(error);
        errno = error;
        CHECK(platform::last_error() == error);
        CHECK(platform::says_absent(error) == (error == ENOENT || error == ENOTDIR));
        CHECK(platform::says_full(error) == (error == ENOSPC || error == EDQUOT || error == EFBIG));
    }
    CHECK_FALSE(platform::says_absent(0));
    CHECK_FALSE(platform::says_full(0));
    CHECK(platform::error_text(EACCES) == "Permission denied");
}

}  // namespace

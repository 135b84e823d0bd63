# What the library is built on: a target that the host has already, else the system's package, else the sources
# (CMake's FETCHCONTENT_* variables and dependency providers apply as everywhere).
# Everything set here is a plain variable: nothing reaches the host's cache or the host's directories.
include(FetchContent)
set(CMAKE_POLICY_DEFAULT_CMP0077 NEW)  # options of fetched projects obey the variables below
set(CMAKE_POLICY_VERSION_MINIMUM 3.5)  # nlohmann_json 3.11 asks for less than CMake 4 knows

find_package(Threads REQUIRED)

# One SQLite in the process: SQLiteCpp's own copy only where there is no other.
if(NOT TARGET SQLite3::SQLite3 AND NOT TARGET SQLite::SQLite3)
    find_package(SQLite3 QUIET)
endif()
set(BACKLITE_SQLITE)
foreach(target IN ITEMS SQLite::SQLite3 SQLite3::SQLite3)  # the second since CMake 4.3, which warns of the first
    if(TARGET ${target})
        set(BACKLITE_SQLITE ${target})
    endif()
endforeach()
if(BACKLITE_SQLITE)
    set(SQLITECPP_INTERNAL_SQLITE OFF)
else()
    set(SQLITECPP_INTERNAL_SQLITE ON)
endif()
set(SQLITECPP_RUN_CPPLINT OFF)
set(SQLITECPP_RUN_CPPCHECK OFF)
# What install(EXPORT) needs of packages that were fetched.
set(FMT_INSTALL ${BACKLITE_INSTALL})
set(JSON_Install ${BACKLITE_INSTALL})

FetchContent_Declare(
    SQLiteCpp
    URL https://github.com/SRombauts/SQLiteCpp/archive/refs/tags/3.3.3.tar.gz
    URL_HASH SHA256=33bd4372d83bc43117928ee842be64d05e7807f511b5195f85d30015cad9cac6
    SYSTEM
    FIND_PACKAGE_ARGS QUIET)
FetchContent_Declare(
    nlohmann_json
    URL https://github.com/nlohmann/json/releases/download/v3.11.3/json.tar.xz
    URL_HASH SHA256=d6c65aca6b1ed68e7a182f4757257b107ae403032760ed6ef121c9d55e81757d
    SYSTEM
    FIND_PACKAGE_ARGS 3.11 QUIET)
FetchContent_Declare(
    fmt
    URL https://github.com/fmtlib/fmt/archive/10.1.1.tar.gz
    URL_HASH SHA256=78b8c0a72b1c35e4443a7e308df52498252d1cefc2b08c9a97bc9ee6cfe61f8b
    SYSTEM
    FIND_PACKAGE_ARGS 9 QUIET)

if(NOT TARGET SQLiteCpp)
    FetchContent_MakeAvailable(SQLiteCpp)
endif()
if(NOT TARGET nlohmann_json::nlohmann_json)
    FetchContent_MakeAvailable(nlohmann_json)
endif()
if(NOT TARGET fmt::fmt)
    FetchContent_MakeAvailable(fmt)
endif()

if(BACKLITE_BUILD_TESTS)
    # No version: Catch2 2.13.10 and 3 both have Catch2::Catch2WithMain, and tests/support/backlite_catch.hpp serves both.
    FetchContent_Declare(
        Catch2
        URL https://github.com/catchorg/Catch2/archive/refs/tags/v3.7.1.tar.gz
        URL_HASH SHA256=c991b247a1a0d7bb9c39aa35faf0fe9e19764213f28ffba3109388e62ee0269c
        SYSTEM
        FIND_PACKAGE_ARGS QUIET)
    if(NOT TARGET Catch2::Catch2WithMain)
        FetchContent_MakeAvailable(Catch2)
    endif()
    if(DEFINED Catch2_SOURCE_DIR)
        list(APPEND CMAKE_MODULE_PATH ${Catch2_SOURCE_DIR}/extras)
    else()
        list(APPEND CMAKE_MODULE_PATH ${Catch2_DIR})
    endif()
endif()

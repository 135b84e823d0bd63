# Settings for work on the library itself: cmake -C cmake/dev.cmake -S . -B build
# They are read by the library's own tests and examples only, never by a host.
set(BACKLITE_DEV_FLAGS
    -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wold-style-cast -Wnon-virtual-dtor
    -Woverloaded-virtual -Werror $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety>
    CACHE STRING "Compiler flags of the tests and examples")
set(CMAKE_BUILD_TYPE Debug CACHE STRING "Kind of build")
set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g1" CACHE STRING "Flags of this kind of build")
set(CMAKE_VERIFY_INTERFACE_HEADER_SETS ON CACHE BOOL "Compile each header alone")
set(CMAKE_EXPORT_COMPILE_COMMANDS ON CACHE BOOL "Write compile_commands.json")

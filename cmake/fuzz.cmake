# The fuzz targets of tests/fuzz: CXX=clang++ cmake -C cmake/fuzz.cmake -S . -B build/fuzz
include(${CMAKE_CURRENT_LIST_DIR}/dev.cmake)
set(CMAKE_VERIFY_INTERFACE_HEADER_SETS OFF CACHE BOOL "Compile each header alone" FORCE)
set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g1" CACHE STRING "Flags of this kind of build" FORCE)
set(BACKLITE_BUILD_FUZZ ON CACHE BOOL "Build the fuzz targets")
set(BACKLITE_BUILD_TESTS OFF CACHE BOOL "Build the tests")
set(BACKLITE_BUILD_EXAMPLES OFF CACHE BOOL "Build the examples")
set(BACKLITE_INSTALL OFF CACHE BOOL "Install headers and CMake package")

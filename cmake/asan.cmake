# Address and undefined behaviour sanitizers: cmake -C cmake/asan.cmake -S . -B build/asan
include(${CMAKE_CURRENT_LIST_DIR}/dev.cmake)
set(CMAKE_VERIFY_INTERFACE_HEADER_SETS OFF CACHE BOOL "Compile each header alone" FORCE)
set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g1" CACHE STRING "Flags of this kind of build" FORCE)
set(CMAKE_CXX_FLAGS "-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"
    CACHE STRING "Flags of every kind of build")
set(BACKLITE_TEST_TIMEOUT 180 CACHE STRING "Seconds that one test may take")
# GCC 12 takes objects that the sanitizer's checks touch for uninitialised (std::stop_source, for one).
set(BACKLITE_DEV_FLAGS ${BACKLITE_DEV_FLAGS} -Wno-maybe-uninitialized
    CACHE STRING "Compiler flags of the tests and examples" FORCE)

# Address and undefined behaviour sanitizers: cmake -C cmake/asan.cmake -S . -B build/asan
include(${CMAKE_CURRENT_LIST_DIR}/dev.cmake)
set(CMAKE_VERIFY_INTERFACE_HEADER_SETS OFF CACHE BOOL "Compile each header alone" FORCE)
set(CMAKE_CXX_FLAGS "-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"
    CACHE STRING "Flags of every kind of build")
set(BACKLITE_TEST_TIMEOUT 180 CACHE STRING "Seconds that one test may take")
set(BACKLITE_TEST_COMPILED unit integration memory http stress CACHE STRING "Folders whose tests use backlite::compiled")

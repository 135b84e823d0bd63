# Thread sanitizer: cmake -C cmake/tsan.cmake -S . -B build/tsan
include(${CMAKE_CURRENT_LIST_DIR}/dev.cmake)
set(CMAKE_VERIFY_INTERFACE_HEADER_SETS OFF CACHE BOOL "Compile each header alone" FORCE)
set(CMAKE_CXX_FLAGS "-fsanitize=thread -fno-omit-frame-pointer" CACHE STRING "Flags of every kind of build")
set(BACKLITE_TEST_TIMEOUT 300 CACHE STRING "Seconds that one test may take")
set(BACKLITE_TESTS_WITH_THREADS ON CACHE BOOL "Leave out the unit tests of what knows no threads")
set(BACKLITE_TEST_COMPILED unit integration memory http stress CACHE STRING "Folders whose tests use backlite::compiled")

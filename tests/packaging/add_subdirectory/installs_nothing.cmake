# A guest has no install rules and no tests of its own unless the host asks for them.
#     cmake -D HOST=build/host -D CTEST=ctest -P tests/packaging/add_subdirectory/installs_nothing.cmake
cmake_minimum_required(VERSION 3.25)

file(REMOVE_RECURSE ${HOST}/prefix)
execute_process(COMMAND ${CMAKE_COMMAND} --install ${HOST} --prefix ${HOST}/prefix COMMAND_ERROR_IS_FATAL ANY)
file(GLOB_RECURSE installed ${HOST}/prefix/*)
if(installed)
    message(FATAL_ERROR "The guest installed: ${installed}")
endif()
execute_process(COMMAND ${CTEST} -N WORKING_DIRECTORY ${HOST} OUTPUT_VARIABLE tests ERROR_VARIABLE tests)
if(tests MATCHES "Total Tests: ([1-9][0-9]*)")
    message(FATAL_ERROR "The guest has ${CMAKE_MATCH_1} tests: ${tests}")
endif()

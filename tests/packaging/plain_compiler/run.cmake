# Copies the headers into a folder of their own, compiles a host with one line as README.md names it, and runs it.
#     cmake -D COMPILER=c++ -D INCLUDE=include -D WORK=build/host [-D STANDARD=c++23] [-D OPTIONS=-fno-rtti]
#           [-D SOURCES=host.cpp] [-D LIBRARY=libbacklite_compiled.a] -P tests/packaging/plain_compiler/run.cmake
cmake_minimum_required(VERSION 3.25)

foreach(default IN ITEMS STANDARD=c++20 SOURCES=host.cpp OPTIONS=)
    string(REGEX MATCH "^([A-Z]+)=(.*)$" default ${default})
    if(NOT DEFINED ${CMAKE_MATCH_1})
        set(${CMAKE_MATCH_1} ${CMAKE_MATCH_2})
    endif()
endforeach()

file(REMOVE_RECURSE ${WORK})
file(COPY ${INCLUDE}/ DESTINATION ${WORK}/include)
separate_arguments(sources UNIX_COMMAND "${SOURCES}")
set(units)
foreach(source IN LISTS sources)
    get_filename_component(unit ${source} NAME)
    configure_file(${CMAKE_CURRENT_LIST_DIR}/../${source} ${WORK}/${unit} COPYONLY)
    list(APPEND units ${unit})
endforeach()

separate_arguments(options UNIX_COMMAND "${OPTIONS}")
set(warnings -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wold-style-cast -Wnon-virtual-dtor
    -Woverloaded-virtual -Werror)
execute_process(
    COMMAND ${COMPILER} ${warnings} -std=${STANDARD} ${options} -Iinclude ${units}
        ${LIBRARY} -lSQLiteCpp -lsqlite3 -lfmt -pthread -o host
    WORKING_DIRECTORY ${WORK} COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ./host WORKING_DIRECTORY ${WORK} COMMAND_ERROR_IS_FATAL ANY)

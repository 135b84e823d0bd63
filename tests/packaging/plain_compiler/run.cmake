# Copies the headers, compiles the host with the one line that the README names, and runs it.
#     cmake -D COMPILER=c++ -D INCLUDE=include -D WORK=build/plain_compiler -P tests/packaging/plain_compiler/run.cmake
cmake_minimum_required(VERSION 3.25)

file(REMOVE_RECURSE ${WORK})
file(COPY ${INCLUDE}/ DESTINATION ${WORK}/include)
configure_file(${CMAKE_CURRENT_LIST_DIR}/../host.cpp ${WORK}/main.cpp COPYONLY)

separate_arguments(line UNIX_COMMAND "-std=c++20 -Iinclude main.cpp -lSQLiteCpp -lsqlite3 -lfmt -pthread -o host")
set(warnings -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wold-style-cast -Werror)
execute_process(COMMAND ${COMPILER} ${warnings} ${line} WORKING_DIRECTORY ${WORK} COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ./host WORKING_DIRECTORY ${WORK} COMMAND_ERROR_IS_FATAL ANY)

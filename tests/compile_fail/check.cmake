# Compiles SOURCE, with declarations only since bodies have no part in it, and compares with its first line:
#     // expect: TEXT        the compiler must stop with an error that contains TEXT
#     // expect success      it must compile
cmake_minimum_required(VERSION 3.25)

file(STRINGS ${SOURCE} first LIMIT_COUNT 1)
if(NOT first MATCHES "^// expect(: (.+)| success)$")
    message(FATAL_ERROR "no expectation on the first line: ${first}")
endif()
set(expected "${CMAKE_MATCH_2}")

string(REPLACE "|" ";" includes "${INCLUDES}")
list(REMOVE_ITEM includes "" /usr/include /usr/include/)  # naming it would change the order of the system's folders
list(TRANSFORM includes PREPEND -I)
execute_process(
    COMMAND ${CMAKE_COMMAND} -E env LC_ALL=C ${COMPILER} -std=c++20 -fsyntax-only -fmessage-length=0
        -Werror=unused-result -DBACKLITE_SEPARATE_COMPILATION ${includes} ${SOURCE}
    RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)

if(expected STREQUAL "")
    if(NOT result EQUAL 0)
        message(FATAL_ERROR "does not compile:\n${output}")
    endif()
    return()
endif()
if(result EQUAL 0)
    message(FATAL_ERROR "compiles, but must not")
endif()
# Only the errors count: the compiler also quotes source lines, and the text stands there.
string(REGEX MATCHALL "[^\n]*error:[^\n]*" errors "${output}")
string(FIND "${errors}" "${expected}" at)
if(at EQUAL -1)
    message(FATAL_ERROR "no error says: ${expected}\n${output}")
endif()

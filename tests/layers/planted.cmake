# Plants each kind of fault in a copy of the headers and demands that check.cmake finds it there.
#     cmake -D ROOT=. -D WORK=build/planted -P tests/layers/planted.cmake
cmake_minimum_required(VERSION 3.25)

macro(fresh_copy)
    file(REMOVE_RECURSE ${WORK})
    file(COPY ${ROOT}/include DESTINATION ${WORK})
    file(COPY ${ROOT}/cmake/headers.cmake DESTINATION ${WORK}/cmake)
endmacro()

function(expect_found what)
    execute_process(
        COMMAND ${CMAKE_COMMAND} -D ROOT=${WORK} -P ${CMAKE_CURRENT_LIST_DIR}/check.cmake
        RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
    string(FIND "${output}" "${what}" at)
    if(result EQUAL 0 OR at EQUAL -1)
        message(FATAL_ERROR "Planted, not found: ${what}\nThe check said:\n${output}")
    endif()
    message(STATUS "found: ${what}")
endfunction()

fresh_copy()
execute_process(
    COMMAND ${CMAKE_COMMAND} -D ROOT=${WORK} -P ${CMAKE_CURRENT_LIST_DIR}/check.cmake
    COMMAND_ERROR_IS_FATAL ANY OUTPUT_QUIET)

include(${WORK}/cmake/headers.cmake)
list(GET BACKLITE_HEADERS 0 lowest)
list(GET BACKLITE_HEADERS 1 second)
list(GET BACKLITE_HEADERS -1 highest)

file(APPEND ${WORK}/include/backlite/${lowest}.hpp "#include <backlite/${highest}.hpp>\n")
expect_found("${lowest}.hpp includes ${highest}.hpp, which is not below it")

fresh_copy()
file(APPEND ${WORK}/include/backlite/${lowest}.hpp "#  include <backlite/${second}.hpp>  // to the right in its rank\n")
expect_found("${lowest}.hpp includes ${second}.hpp, which is not below it")

fresh_copy()
file(APPEND ${WORK}/include/backlite/${lowest}.hpp "#include <backlite/${lowest}.hpp>\n")
expect_found("${lowest}.hpp includes ${lowest}.hpp, which is not below it")

fresh_copy()
file(APPEND ${WORK}/include/backlite/${highest}.hpp "#include \"${lowest}.hpp\"\n")
expect_found("${highest}.hpp includes by a relative path")

fresh_copy()
file(WRITE ${WORK}/include/backlite/unlisted.hpp "// SPDX-License-Identifier: MIT\n#pragma once\n")
expect_found("include/backlite/unlisted.hpp is not in cmake/headers.cmake")

fresh_copy()
file(APPEND ${WORK}/include/backlite/${highest}.hpp "#include <backlite/unheard_of.hpp>\n")
expect_found("${highest}.hpp includes unheard_of.hpp, which is not in cmake/headers.cmake")

fresh_copy()
file(APPEND ${WORK}/include/backlite/impl/config.ipp "#include <backlite/${highest}.hpp>\n")
expect_found("impl/config.ipp includes ${highest}.hpp, which is not below it")

fresh_copy()
file(WRITE ${WORK}/include/backlite/impl/unheard_of.ipp "// SPDX-License-Identifier: MIT\n#pragma once\n")
expect_found("include/backlite/impl/unheard_of.ipp is not in cmake/headers.cmake")

fresh_copy()
file(WRITE ${WORK}/include/backlite/impl/platform/linux/unheard_of.ipp "// SPDX-License-Identifier: MIT\n#pragma once\n")
expect_found("include/backlite/impl/platform/linux/unheard_of.ipp is not in cmake/headers.cmake")

fresh_copy()
file(READ ${WORK}/include/backlite/client.hpp text)
string(REPLACE "#include <backlite/impl/client.ipp>" "" text "${text}")
file(WRITE ${WORK}/include/backlite/client.hpp "${text}")
expect_found("client.hpp does not end with its bodies")

fresh_copy()
file(READ ${WORK}/include/backlite/impl/src.hpp text)
string(REPLACE "#include <backlite/impl/client.ipp>" "" text "${text}")
file(WRITE ${WORK}/include/backlite/impl/src.hpp "${text}")
expect_found("leaves the bodies of client.hpp out")

fresh_copy()
file(REMOVE ${WORK}/include/backlite/${highest}.hpp)
expect_found("cmake/headers.cmake lists ${highest}, which does not exist")

fresh_copy()
file(WRITE ${WORK}/include/backlite/${highest}.hpp "// nothing else\n")
expect_found("${highest}.hpp does not begin with its licence and #pragma once")

foreach(sql IN ITEMS "UPDATE backlite_tasks SET owner = ?1, claimed_at = ?2" "INSERT INTO backlite_tasks (id, claimed_at)")
    fresh_copy()
    file(APPEND ${WORK}/include/backlite/store/sqlite/upkeep.hpp "const char* sql = \"${sql}\"\;\n")
    expect_found("store/sqlite/upkeep.hpp changes claimed_at, which is the business of store/sqlite/transitions.hpp")
endforeach()

foreach(foreign IN ITEMS sqlite3.h SQLiteCpp/Database.h)
    foreach(file IN ITEMS engine/engine.hpp impl/transaction.ipp impl/platform/process.ipp)
        fresh_copy()
        file(APPEND ${WORK}/include/backlite/${file} "#include <${foreign}>\n")
        expect_found("${file} includes ${foreign}, which is the business of store/")
    endforeach()
endforeach()

foreach(file IN ITEMS engine/engine.hpp impl/engine/session.ipp impl/transaction.ipp ui/mount.hpp)
    fresh_copy()
    file(APPEND ${WORK}/include/backlite/${file} "#include <backlite/store/sqlite/claims.hpp>\n")
    expect_found("${file} includes store/sqlite/claims.hpp, which only the store, admin/ and the bodies of client.hpp know of")
endforeach()

foreach(foreign IN ITEMS sys/stat.h unistd.h cerrno)
    foreach(file IN ITEMS engine/engine.hpp store/sqlite/connection.hpp impl/store/sqlite/owner_lock.ipp platform/file.hpp)
        fresh_copy()
        file(APPEND ${WORK}/include/backlite/${file} "#include <${foreign}>\n")
        expect_found("${file} includes ${foreign}, which is the business of impl/platform/")
    endforeach()
endforeach()

fresh_copy()
file(APPEND ${WORK}/include/backlite/impl/platform/file.ipp "#include <sys/inotify.h>\n")
expect_found("impl/platform/file.ipp includes sys/inotify.h, which is the business of impl/platform/linux/")

fresh_copy()
file(APPEND ${WORK}/include/backlite/impl/platform/linux/file_lock.ipp "#include <backlite/${highest}.hpp>\n")
expect_found("impl/platform/linux/file_lock.ipp includes ${highest}.hpp, which is not below it")

fresh_copy()
file(READ ${WORK}/include/backlite/impl/platform/system.ipp text)
string(REPLACE "#include <backlite/impl/platform/linux/process.ipp>" "" text "${text}")
file(WRITE ${WORK}/include/backlite/impl/platform/system.ipp "${text}")
expect_found("impl/platform/system.ipp leaves backlite/impl/platform/linux/process.ipp out")

fresh_copy()
file(READ ${WORK}/include/backlite/platform/file_lock.hpp text)
string(REPLACE "#include <backlite/impl/platform/system.ipp>" "" text "${text}")
file(WRITE ${WORK}/include/backlite/platform/file_lock.hpp "${text}")
expect_found("platform/file_lock.hpp does not end with its bodies")

fresh_copy()
file(READ ${WORK}/include/backlite/impl/src.hpp text)
string(REPLACE "#include <backlite/impl/platform/system.ipp>" "" text "${text}")
file(WRITE ${WORK}/include/backlite/impl/src.hpp "${text}")
expect_found("impl/src.hpp leaves the bodies of the system out")

fresh_copy()
file(APPEND ${WORK}/include/backlite/platform/random.hpp "#include <backlite/impl/platform/system.ipp>\n")
expect_found("platform/random.hpp includes the bodies of the system and has none there")

fresh_copy()
file(APPEND ${WORK}/include/backlite/platform/process.hpp "#include <backlite/platform/file_identity.hpp>\n")
expect_found("platform/process.hpp includes platform/file_identity.hpp, whose bodies the system supplies")

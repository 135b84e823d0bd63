# Rehearses a fortnight of nights: each of them cleans up once, four missed ones together once, and the last week's logs stay.
file(REMOVE_RECURSE ${WORK})
file(MAKE_DIRECTORY ${WORK})
execute_process(COMMAND ${PROGRAM} --rehearse WORKING_DIRECTORY ${WORK} TIMEOUT 30
    RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(NOT result STREQUAL 0 OR NOT output MATCHES "removed 2020-01-01.log\n.*\n15 clean-ups, 3 logs left\n")
    message(FATAL_ERROR "exit code ${result}:\n${output}")
endif()
file(REMOVE_RECURSE ${WORK})

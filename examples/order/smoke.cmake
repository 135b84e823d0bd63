# One order is sent, one cancelled, one fails; nothing is left booked of the last two.
execute_process(COMMAND ${PROGRAM} OUTPUT_VARIABLE said RESULT_VARIABLE result)
foreach(line "booked: 3" "sent A1" "A1: follow it as parcel-A1" "succeeded\ncancelled\nfailed\nbooked: 1")
    string(FIND "${said}" "${line}" at)
    if(NOT result EQUAL 0 OR at EQUAL -1)
        message(FATAL_ERROR "result ${result}, expected \"${line}\" in:\n${said}")
    endif()
endforeach()

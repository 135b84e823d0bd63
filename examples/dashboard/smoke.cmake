# Starts the program on a file of its own, asks for every kind of answer, and stops it. Then what it must refuse.
file(REMOVE_RECURSE ${WORK})
file(MAKE_DIRECTORY ${WORK})

function(expect code pattern)  # expect CODE PATTERN ARGUMENT...: what a run must end with and print
    execute_process(COMMAND ${PROGRAM} ${ARGN} WORKING_DIRECTORY ${WORK} TIMEOUT 30
        RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
    if(NOT result STREQUAL "${code}" OR NOT output MATCHES "${pattern}")
        message(FATAL_ERROR "backlite_dashboard ${ARGN}: exit code ${result}, expected ${code} and \"${pattern}\":\n${output}")
    endif()
endfunction()

expect(0 "usage" --help)
expect(2 "usage")
expect(2 "usage" app.db other.db)
expect(2 "usage" app.db --port)
expect(2 "usage" app.db --port 80x)
expect(2 "port 70000 is not between" app.db --port 70000)
expect(2 "0.0.0.0 can be reached from other machines" app.db --host 0.0.0.0)
expect(2 "tasks.example.org.*no authorization" app.db --name tasks.example.org)

set(ENV{BACKLITE_DASHBOARD_TOKEN} "short")
expect(2 "DashboardConfig::token" app.db)
unset(ENV{BACKLITE_DASHBOARD_TOKEN})

expect(2 "no such file|there is no" missing.db --act)

file(WRITE ${WORK}/script.sh "
\"\$1\" demo.db --port 0 --demo >out & server=\$!
trap 'kill -9 \$server 2>/dev/null' EXIT
for i in \$(seq 200); do url=\$(sed -nE 's,.*(http://[^/]+)/[?]token=[0-9a-f]+$,\\1,p' out); [ -n \"\$url\" ] && break; sleep 0.1; done
port=\${url##*:}
\"\$1\" demo.db --port \$port >second 2>&1; [ \$? = 2 ] && grep -q \"port \$port: Address already in use\" second || exit 1
kill -TERM \$server; wait \$server || exit 1
BACKLITE_DASHBOARD_TOKEN=a-token-for-a-smoke-test \"\$1\" demo.db --port 0 --act >acts & server=\$!
for i in \$(seq 200); do grep -q token= acts && break; sleep 0.1; done
url=\$(sed -nE 's,.*(http://[^/]+)/[?]token=.*,\\1,p' acts)
exec 3<>/dev/tcp/127.0.0.1/\${url##*:}
printf 'POST /act HTTP/1.1\\r\\nHost: localhost\\r\\nAuthorization: Bearer a-token-for-a-smoke-test\\r\\nContent-Type: application/json\\r\\nContent-Length: 37\\r\\n\\r\\n{\"do\":\"pause\",\"queue\":\"write_report\"}' >&3
grep -q '\"done\":true' <&3 || exit 1
grep -q '127.0.0.1: pause write_report' acts || exit 1
kill -TERM \$server; wait \$server
")
execute_process(COMMAND bash script.sh ${PROGRAM} WORKING_DIRECTORY ${WORK} TIMEOUT 50 RESULT_VARIABLE result
    OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(NOT result EQUAL 0)
    message(FATAL_ERROR "a run with --demo ends with ${result}:\n${output}")
endif()
file(REMOVE_RECURSE ${WORK})

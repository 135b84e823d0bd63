# Indexes a small folder, searches it, changes it, and indexes it again.
set(folder ${WORK}/folder)
file(REMOVE_RECURSE ${WORK})
file(MAKE_DIRECTORY ${folder})
foreach(number RANGE 1 60)
    file(WRITE ${folder}/part${number}/notes${number}.txt "Common words, and unique${number} ones: naïve, x${number}.\n")
endforeach()
file(WRITE ${WORK}/plain "packed away, so not to be found")
file(ARCHIVE_CREATE OUTPUT ${folder}/packed.gz PATHS ${WORK}/plain FORMAT raw COMPRESSION GZip)
file(CREATE_LINK ${folder}/part1 ${folder}/link SYMBOLIC)
file(CREATE_LINK ${folder} ${folder}/part2/loop SYMBOLIC)

function(expect code pattern)  # expect CODE PATTERN ARGUMENT...: what a run must end with and print
    execute_process(COMMAND ${PROGRAM} ${ARGN} WORKING_DIRECTORY ${WORK} TIMEOUT 30
        RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
    if(NOT result STREQUAL "${code}" OR NOT output MATCHES "${pattern}")
        message(FATAL_ERROR "file_index ${ARGN}: exit code ${result}, expected ${code} and \"${pattern}\":\n${output}")
    endif()
endfunction()

expect(2 "there is no index yet" --search common)
expect(0 "61 files read .*, 0 unchanged, 0 vanished\nthe index has 61 files. 1 are binary" ${folder})
expect(0 "20 of 60 files" --search common)
expect(0 "part7/notes7.txt\n1 of 1 files" --search unique7)
expect(0 "of 60 files" --search naive)
expect(0 "of 11 files" --search "unique5*")
expect(0 "packed.gz\n1 of 1 files" --search packed)
expect(0 "^0 of 0 files" --search nothing)
expect(0 "^0 of 0 files" --search "\"*")

# Nothing has changed; then two files have, and one has gone.
expect(0 "\n0 files read .*, 61 unchanged, 0 vanished" ${folder})
file(WRITE ${folder}/part7/notes7.txt "Something else altogether.\n")
file(WRITE ${folder}/part8/more.txt "Something new.\n")
file(REMOVE ${folder}/part9/notes9.txt)
expect(0 "2 files read .*, 59 unchanged, 1 vanished" ${folder})
expect(0 "^0 of 0 files" --search unique7)
expect(0 "2 of 2 files" --search something)
expect(0 "^0 of 0 files" --search unique9)

# A database in the folder that it indexes is not read as a file.
expect(0 "61 files read" ${folder} --database folder/own.db --workers 1)
expect(0 "\n0 files read" ${folder} --database folder/own.db --workers 1)

# The tasks in a browser, while it works and afterwards.
file(WRITE ${WORK}/script.sh "
\"\$1\" folder --database pages.db --dashboard 0 >out 2>&1 & program=\$!
trap 'kill -9 \$program 2>/dev/null' EXIT
for i in \$(seq 200); do grep -qE 'all is done|without cpp-httplib' out && break; sleep 0.1; done
grep 'without cpp-httplib' out && exit
read -r port token < <(sed -nE 's,.*http://127.0.0.1:([0-9]+)/[?]token=([0-9a-f]+)$,\\1 \\2,p' out)
exec 3<>/dev/tcp/127.0.0.1/\$port || exit 1
printf 'GET / HTTP/1.1\\r\\nHost: 127.0.0.1:%s\\r\\nAuthorization: Bearer %s\\r\\n\\r\\n' \$port \$token >&3
head -n 1 <&3 | grep -q ' 200 ' || exit 1
kill -TERM \$program; wait \$program && cat out
")
execute_process(COMMAND bash script.sh ${PROGRAM} WORKING_DIRECTORY ${WORK} TIMEOUT 50 RESULT_VARIABLE result
    OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(NOT result EQUAL 0 OR NOT output MATCHES "shown at http.*files read|without cpp-httplib")
    message(FATAL_ERROR "a run with --dashboard ends with ${result}:\n${output}")
endif()

expect(2 "usage" --unknown)
expect(2 "--dashboard takes a number from 0 to 65535" ${folder} --dashboard 65536)
expect(2 "no dashboard" --search common --dashboard 0)
expect(2 "--workers takes a number" ${folder} --workers 0)
expect(2 "usage" ${WORK}/missing)
expect(2 "no folder" ${WORK}/plain)
expect(2 "needs a value" --search)
expect(0 "usage" --help)
file(REMOVE_RECURSE ${WORK})

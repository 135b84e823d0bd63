# backlite::compiled: the library with its bodies compiled once, by the host and with the host's flags. The project and the
# installed package both read this file.
block()  # a host that calls find_package keeps its variables
    set(sources)
    foreach(part IN ITEMS "" ui/ testing/)
        set(source ${CMAKE_CURRENT_BINARY_DIR}/backlite_compiled/${part}src.cpp)
        file(CONFIGURE OUTPUT ${source} CONTENT "#include <backlite/impl/${part}src.hpp>\n")
        list(APPEND sources ${source})
    endforeach()
    add_library(backlite_compiled STATIC EXCLUDE_FROM_ALL ${sources})
    add_library(backlite::compiled ALIAS backlite_compiled)
    target_compile_definitions(backlite_compiled PUBLIC BACKLITE_SEPARATE_COMPILATION)
    target_link_libraries(backlite_compiled PUBLIC backlite::backlite)
    set_target_properties(backlite_compiled PROPERTIES POSITION_INDEPENDENT_CODE ON)
endblock()

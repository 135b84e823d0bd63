# Where cpp-httplib is missing, --dashboard is an error.
include(${PROJECT_SOURCE_DIR}/cmake/httplib.cmake)
if(TARGET httplib::httplib)
    target_link_libraries(file_index PRIVATE httplib::httplib)
    target_compile_definitions(file_index PRIVATE FILE_INDEX_HAS_HTTPLIB)
endif()

# cpp-httplib as httplib::httplib, for the dashboard's program and tests; where there is none, they are left out.
# Debian's package has no CMake configuration, and its compiler flags decide the layout of its types: pkg-config has them.
if(NOT TARGET httplib::httplib)
    find_package(httplib QUIET)
endif()
if(NOT TARGET httplib::httplib)
    find_package(PkgConfig QUIET)
    if(PkgConfig_FOUND)
        pkg_check_modules(backlite_httplib QUIET IMPORTED_TARGET GLOBAL cpp-httplib)
    endif()
    if(TARGET PkgConfig::backlite_httplib)
        add_library(httplib::httplib ALIAS PkgConfig::backlite_httplib)
    endif()
endif()

# `cmake --install`: headers, and what find_package(backlite) reads. Nothing here depends on the architecture.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(destination ${CMAKE_INSTALL_DATADIR}/cmake/backlite)

install(TARGETS backlite EXPORT backlite-targets FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
    FILE_SET bodies DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT backlite-targets NAMESPACE backlite:: DESTINATION ${destination})

configure_package_config_file(
    cmake/backlite-config.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/backlite-config.cmake
    INSTALL_DESTINATION ${destination}
    NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(
    ${CMAKE_CURRENT_BINARY_DIR}/backlite-config-version.cmake
    COMPATIBILITY SameMinorVersion
    ARCH_INDEPENDENT)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/backlite-config.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/backlite-config-version.cmake
              cmake/compiled.cmake
        DESTINATION ${destination})

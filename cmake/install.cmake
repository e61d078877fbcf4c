# Install rules: headers, libraries, dm, and the files by which others find them.
include(CMakePackageConfigHelpers)

file(GLOB public_headers CONFIGURE_DEPENDS include/dm/*.h)
install(FILES ${public_headers} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/dm)

set(cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/dmrt)
install(EXPORT dmrt-targets NAMESPACE dmrt:: DESTINATION ${cmake_dir})
configure_package_config_file(cmake/dmrt-config.cmake.in dmrt-config.cmake
                              INSTALL_DESTINATION ${cmake_dir})
write_basic_package_version_file(dmrt-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/dmrt-config.cmake
              ${PROJECT_BINARY_DIR}/dmrt-config-version.cmake DESTINATION ${cmake_dir})

# The .pc files find their prefix from where they lie, so that a tree can be installed anywhere.
set(pc_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH DMRT_PC_TO_PREFIX /${pc_dir} /)
string(REGEX REPLACE "/$" "" DMRT_PC_TO_PREFIX ${DMRT_PC_TO_PREFIX})
list(JOIN DMRT_RUNTIME_MODULES " " DMRT_PC_RUNTIME)
list(TRANSFORM DMRT_MODELS_LIBRARIES PREPEND "-l" OUTPUT_VARIABLE DMRT_PC_MODELS)
list(JOIN DMRT_PC_MODELS " " DMRT_PC_MODELS)

configure_file(cmake/dmrt.pc.in dmrt.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/dmrt.pc DESTINATION ${pc_dir})
if(TARGET dmrt_models)
    configure_file(cmake/dmrt_models.pc.in dmrt_models.pc @ONLY)
    install(FILES ${PROJECT_BINARY_DIR}/dmrt_models.pc DESTINATION ${pc_dir})
endif()

# Install rules: the headers, and a package for find_package(protlm [COMPONENTS distributed hdf5]).
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(protlm_package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/protlm")

install(DIRECTORY include/protlm DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" FILES_MATCHING PATTERN "*.hpp")
install(FILES LICENSE DESTINATION "${CMAKE_INSTALL_DATADIR}/licenses/protlm")

install(TARGETS protlm EXPORT protlmTargets)
install(TARGETS protlm_distributed EXPORT protlm-distributedTargets)
install(TARGETS protlm_hdf5 EXPORT protlm-hdf5Targets)
foreach(targets protlmTargets protlm-distributedTargets protlm-hdf5Targets)
    install(EXPORT ${targets} NAMESPACE protlm:: DESTINATION "${protlm_package_dir}")
endforeach()

configure_package_config_file(cmake/protlmConfig.cmake.in "${PROJECT_BINARY_DIR}/protlmConfig.cmake"
                              INSTALL_DESTINATION "${protlm_package_dir}")
# Before version 1 any minor version may change the interface.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/protlmConfigVersion.cmake" COMPATIBILITY SameMinorVersion
                                 ARCH_INDEPENDENT)
install(FILES "${PROJECT_BINARY_DIR}/protlmConfig.cmake" "${PROJECT_BINARY_DIR}/protlmConfigVersion.cmake"
              cmake/ProtlmDependencies.cmake cmake/ProtlmFlags.cmake
        DESTINATION "${protlm_package_dir}")

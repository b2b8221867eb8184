# Libraries, headers, segmenter.pc and the CMake package. Nothing installed holds an absolute path,
# so the tree may be moved.
include(CMakePackageConfigHelpers)

install(DIRECTORY include/segmenter DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.h")

# Two export sets: a program that uses the shared library must not need the packages of the
# libraries that ours uses.
install(TARGETS segmenter EXPORT segmenter-shared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS segmenter_static EXPORT segmenter-static
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/segmenter")
foreach(kind shared static)
  install(EXPORT segmenter-${kind} NAMESPACE segmenter:: DESTINATION "${package_dir}")
endforeach()
configure_package_config_file(cmake/segmenter-config.cmake.in segmenter-config.cmake
                              INSTALL_DESTINATION "${package_dir}"
                              NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(segmenter-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/segmenter-config.cmake"
              "${PROJECT_BINARY_DIR}/segmenter-config-version.cmake"
        DESTINATION "${package_dir}")

# pkg-config works out the prefix from where the file lies, unless the directories are absolute.
set(pc_prefix "${CMAKE_INSTALL_PREFIX}")
if(NOT IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
  file(RELATIVE_PATH up "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
  string(REGEX REPLACE "/$" "" up "${up}")
  set(pc_prefix "\${pcfiledir}/${up}")
endif()
foreach(name LIBDIR INCLUDEDIR)
  if(IS_ABSOLUTE "${CMAKE_INSTALL_${name}}")
    set(pc_${name} "${CMAKE_INSTALL_${name}}")
  else()
    set(pc_${name} "\${prefix}/${CMAKE_INSTALL_${name}}")
  endif()
endforeach()
configure_file(cmake/segmenter.pc.in segmenter.pc @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/segmenter.pc"
        DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")

# Libraries, headers, segmenter.pc, the CMake package, manual pages and systemd units. Nothing installed
# holds an absolute path, but for the units, so the tree may be moved.
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

# ---- Manual pages ---------------------------------------------------------------------------

# Made from the headers and docs/ into man/man3 and man/man7; what else is put into man/manN is installed
# as well.
file(GLOB man_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/include/segmenter/*.h"
                                        "${PROJECT_SOURCE_DIR}/man/*")
list(APPEND man_sources "${PROJECT_SOURCE_DIR}/docs/protocol.md")
add_custom_command(
  OUTPUT "${PROJECT_BINARY_DIR}/man.stamp"
  COMMAND sh "${PROJECT_SOURCE_DIR}/man/generate" "${PROJECT_BINARY_DIR}/man"
  COMMAND "${CMAKE_COMMAND}" -E touch "${PROJECT_BINARY_DIR}/man.stamp"
  DEPENDS ${man_sources}
  COMMENT "Writing the manual pages"
  VERBATIM)
add_custom_target(man ALL DEPENDS "${PROJECT_BINARY_DIR}/man.stamp")
install(DIRECTORY "${PROJECT_BINARY_DIR}/man/" DESTINATION ${CMAKE_INSTALL_MANDIR}
        FILES_MATCHING PATTERN "*.[0-9]")

# ---- The command's surroundings -----------------------------------------------------------------

# The command writes its own pages and completions, from the tables that it reads its options by. A build for
# another machine, or with a sanitizer, cannot be asked to.
if(SEGMENTER_CLI AND NOT CMAKE_CROSSCOMPILING AND NOT SEGMENTER_SANITIZE)
  set(completions "${PROJECT_BINARY_DIR}/completions")
  file(MAKE_DIRECTORY "${completions}" "${PROJECT_BINARY_DIR}/man/man1")
  add_custom_command(
    OUTPUT "${PROJECT_BINARY_DIR}/command.stamp"
    COMMAND segmenter_cli man --dir "${PROJECT_BINARY_DIR}/man/man1"
    COMMAND segmenter_cli completion bash > "${completions}/segmenter"
    COMMAND segmenter_cli completion zsh > "${completions}/_segmenter"
    COMMAND segmenter_cli completion fish > "${completions}/segmenter.fish"
    COMMAND "${CMAKE_COMMAND}" -E touch "${PROJECT_BINARY_DIR}/command.stamp"
    DEPENDS segmenter_cli
    COMMENT "Writing the command's pages and completions"
    VERBATIM)
  add_custom_target(command_pages ALL DEPENDS "${PROJECT_BINARY_DIR}/command.stamp")
  install(FILES "${completions}/segmenter"
          DESTINATION "${CMAKE_INSTALL_DATADIR}/bash-completion/completions")
  set(SEGMENTER_ZSH_DIR "${CMAKE_INSTALL_DATADIR}/zsh/site-functions" CACHE STRING
      "Where zsh looks for completions; relative to the prefix, or absolute")
  install(FILES "${completions}/_segmenter" DESTINATION "${SEGMENTER_ZSH_DIR}")
  install(FILES "${completions}/segmenter.fish"
          DESTINATION "${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d")
endif()

if(SEGMENTER_CLI)
  install(DIRECTORY deploy/grafana deploy/prometheus DESTINATION ${CMAKE_INSTALL_DATADIR}/segmenter
          PATTERN "*.test.yml" EXCLUDE)
endif()

set(SEGMENTER_UNIT_DIR "lib/systemd/system" CACHE STRING
    "Where systemd's units are installed; relative to the prefix, or absolute")
if(SEGMENTER_CLI)
  foreach(unit segmenter-consume@.service segmenter-exporter.service)
    configure_file("systemd/${unit}.in" "${PROJECT_BINARY_DIR}/systemd/${unit}" @ONLY)
    install(FILES "${PROJECT_BINARY_DIR}/systemd/${unit}" DESTINATION "${SEGMENTER_UNIT_DIR}")
  endforeach()
endif()

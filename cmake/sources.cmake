# sg_sources(VARIABLE DIRECTORY): the C files of one directory. Looked up again at each build, so a
# new file needs no edit here; a directory that is empty or missing gives an empty list.
function(sg_sources variable directory)
  file(GLOB found CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/${directory}/*.c")
  list(SORT found)
  set(${variable} "${found}" PARENT_SCOPE)
endfunction()

# sg_embed_scripts(OUTPUT): generate the C file that holds src/redis/scripts/*.lua. The list is a
# file of its own, rewritten only when it changes, so that a removed script regenerates too.
function(sg_embed_scripts output)
  file(GLOB scripts CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/redis/scripts/*.lua")
  list(SORT scripts)
  list(JOIN scripts "\n" lines)
  set(list "${PROJECT_BINARY_DIR}/scripts.list")
  file(CONFIGURE OUTPUT "${list}" CONTENT "${lines}\n" @ONLY)
  add_custom_command(
    OUTPUT "${output}"
    COMMAND "${CMAKE_COMMAND}" "-DLIST=${list}" "-DOUTPUT=${output}"
            -P "${PROJECT_SOURCE_DIR}/cmake/embed_scripts.cmake"
    DEPENDS ${scripts} "${list}" "${PROJECT_SOURCE_DIR}/cmake/embed_scripts.cmake"
    COMMENT "Embedding the Lua scripts"
    VERBATIM)
endfunction()

# sg_version(VARIABLE): "0.1.0", read from the public header so that it is written down once.
function(sg_version variable)
  set(header "${CMAKE_CURRENT_SOURCE_DIR}/include/segmenter/version.h")
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${header}")
  file(STRINGS "${header}" line REGEX "^#define SEG_VERSION_TEXT ")
  if(NOT line MATCHES "\"([0-9]+\\.[0-9]+\\.[0-9]+)\"")
    message(FATAL_ERROR "no SEG_VERSION_TEXT \"x.y.z\" in ${header}")
  endif()
  set(${variable} "${CMAKE_MATCH_1}" PARENT_SCOPE)
endfunction()

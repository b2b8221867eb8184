# Compiler settings that every target of this project shares. SEGMENTER_SANITIZE and
# SEGMENTER_WERROR are applied to the whole tree: a sanitizer sees only what it instrumented.
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

# POSIX and Linux interfaces for every file, so that none depends on which header comes first.
add_compile_definitions(_GNU_SOURCE)

add_compile_options($<$<COMPILE_LANGUAGE:C>:-Wall> $<$<COMPILE_LANGUAGE:C>:-Wextra>
                    $<$<COMPILE_LANGUAGE:C>:-Wpedantic> $<$<COMPILE_LANGUAGE:C>:-Wshadow>
                    $<$<COMPILE_LANGUAGE:C>:-Wconversion>
                    $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes>)
if(SEGMENTER_WERROR)
  add_compile_options(-Werror)
endif()

if(SEGMENTER_SANITIZE)
  add_compile_options(-fsanitize=${SEGMENTER_SANITIZE} -fno-sanitize-recover=all
                      -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${SEGMENTER_SANITIZE})
endif()

# Everything tells the fuzzer where it has been; tests/fuzz links with the fuzzer itself.
if(SEGMENTER_FUZZ)
  if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "SEGMENTER_FUZZ needs clang: -DCMAKE_C_COMPILER=clang")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

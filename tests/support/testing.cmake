# The functions with which a test folder declares its tests. README.md beside this folder tells what the labels mean.

include(GoogleTest)
find_package(GTest CONFIG REQUIRED)
find_package(benchmark CONFIG REQUIRED)

set(FLOTILLA_SUPPORT_DIR ${CMAKE_CURRENT_LIST_DIR})
set(FLOTILLA_FUZZ_SECONDS 30 CACHE STRING "How long each fuzzer runs under ctest in the preset 'fuzz'")

# flotilla_test(NAME SOURCES file.cc... [LIBRARIES lib...] [LABELS label...] [TIMEOUT seconds])
#
# One GoogleTest program; each TEST in it becomes a ctest test of its own, and a process of its own. main, GoogleTest and
# GoogleMock are linked. LABELS defaults to `unit`, the set that runs by default, TIMEOUT to 60 seconds.
#
#   flotilla_test(log_codec_test SOURCES log_codec_test.cc LIBRARIES flotilla_log)
function(flotilla_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "TIMEOUT" "SOURCES;LIBRARIES;LABELS")
  flotilla_refuse_unknown_arguments(flotilla_test ${name} "${arg_UNPARSED_ARGUMENTS}" "${arg_SOURCES}")
  if(NOT arg_LABELS)
    set(arg_LABELS unit)
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 60)
  endif()
  flotilla_binary(${name} SOURCES ${arg_SOURCES} LIBRARIES ${arg_LIBRARIES} GTest::gmock_main)
  string(REPLACE ";" "\\;" labels "${arg_LABELS}") # gtest_discover_tests takes a list only when escaped
  gtest_discover_tests(
    ${name}
    DISCOVERY_MODE PRE_TEST # a build then never runs what it built
    DISCOVERY_TIMEOUT 60
    PROPERTIES LABELS "${labels}" TIMEOUT ${arg_TIMEOUT})
endfunction()

# flotilla_long_test(NAME LABEL sim|crash|bench|mutants SOURCES file.cc... [LIBRARIES lib...] [TIMEOUT seconds])
#
# As flotilla_test, for what takes more than seconds: not in the default set, run by `tests/run.sh --label LABEL`.
# TIMEOUT defaults to half an hour.
#
#   flotilla_long_test(raft_sim_test LABEL sim SOURCES raft_sim_test.cc LIBRARIES flotilla_raft)
function(flotilla_long_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "LABEL;TIMEOUT" "SOURCES;LIBRARIES")
  if(NOT arg_LABEL OR arg_LABEL STREQUAL "unit")
    message(FATAL_ERROR "flotilla_long_test(${name}): LABEL is '${arg_LABEL}'; name the set it belongs to, e.g. sim")
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 1800)
  endif()
  flotilla_test(${name} ${arg_UNPARSED_ARGUMENTS} SOURCES ${arg_SOURCES} LIBRARIES ${arg_LIBRARIES}
                LABELS ${arg_LABEL} TIMEOUT ${arg_TIMEOUT})
endfunction()

# flotilla_fuzzer(NAME SOURCES file.cc... [LIBRARIES lib...] [CORPUS directory])
#
# SOURCES define LLVMFuzzerTestOneInput. In the preset `fuzz` this is a libFuzzer program that runs for
# FLOTILLA_FUZZ_SECONDS (label `fuzz`); what it finds stays in the build tree. Everywhere else the same function is fed
# every file of CORPUS once (label `unit`), so that a crash that was found and saved there stays fixed.
#
#   flotilla_fuzzer(log_codec_fuzzer SOURCES log_codec_fuzzer.cc LIBRARIES flotilla_log CORPUS corpus/log_codec)
function(flotilla_fuzzer name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "CORPUS" "SOURCES;LIBRARIES")
  flotilla_refuse_unknown_arguments(flotilla_fuzzer ${name} "${arg_UNPARSED_ARGUMENTS}" "${arg_SOURCES}")
  set(corpus "")
  if(arg_CORPUS)
    cmake_path(ABSOLUTE_PATH arg_CORPUS BASE_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR} OUTPUT_VARIABLE corpus)
  endif()
  if(FLOTILLA_FUZZ)
    set(found ${CMAKE_CURRENT_BINARY_DIR}/${name}.found)
    file(MAKE_DIRECTORY ${found})
    flotilla_binary(${name} SOURCES ${arg_SOURCES} LIBRARIES ${arg_LIBRARIES})
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    # The first directory receives new inputs, the second only seeds.
    add_test(NAME ${name} COMMAND ${name} -max_total_time=${FLOTILLA_FUZZ_SECONDS} -timeout=10 -print_final_stats=1
                                  -artifact_prefix=${found}/ ${found} ${corpus})
    math(EXPR timeout "${FLOTILLA_FUZZ_SECONDS} + 120")
    set_tests_properties(${name} PROPERTIES LABELS fuzz TIMEOUT ${timeout})
    add_dependencies(flotilla_fuzzers ${name})
  else()
    flotilla_binary(${name} SOURCES ${arg_SOURCES} ${FLOTILLA_SUPPORT_DIR}/replay_corpus.cc LIBRARIES ${arg_LIBRARIES})
    add_test(NAME ${name}.Corpus COMMAND ${name} ${corpus})
    set_tests_properties(${name}.Corpus PROPERTIES LABELS unit TIMEOUT 60)
  endif()
endfunction()

if(FLOTILLA_FUZZ)
  add_custom_target(flotilla_fuzzers) # what the preset `fuzz` builds
endif()

# Tests in Python, on the code that protoc generates from the public protos.
#
# /usr/bin/python3 and not the first one on the PATH: that one may not see Debian's gRPC.
set(FLOTILLA_PYTHON /usr/bin/python3)
set(FLOTILLA_PYTHON_STUBS ${CMAKE_CURRENT_BINARY_DIR}/python_stubs)
# What tests import beside their own folder: the generated code, and the clients of the examples.
set(FLOTILLA_PYTHON_PATH ${FLOTILLA_PYTHON_STUBS}:${PROJECT_SOURCE_DIR}/client/examples/python)

file(GLOB public_protos CONFIGURE_DEPENDS ${FLOTILLA_PROTO_DIR}/flotilla/v1/*.proto)
add_custom_command(
  OUTPUT ${FLOTILLA_PYTHON_STUBS}/generated
  COMMAND ${CMAKE_COMMAND} -E make_directory ${FLOTILLA_PYTHON_STUBS}
  COMMAND
    protobuf::protoc --proto_path=${FLOTILLA_PROTO_DIR} --python_out=${FLOTILLA_PYTHON_STUBS}
    --grpc_python_out=${FLOTILLA_PYTHON_STUBS}
    --plugin=protoc-gen-grpc_python=$<TARGET_FILE:gRPC::grpc_python_plugin> ${public_protos}
  COMMAND ${CMAKE_COMMAND} -E touch ${FLOTILLA_PYTHON_STUBS}/generated
  DEPENDS ${public_protos} protobuf::protoc
  COMMENT "Generating Python code from the public protos"
  VERBATIM)
add_custom_target(flotilla_python_stubs ALL DEPENDS ${FLOTILLA_PYTHON_STUBS}/generated)

# The protos of nodes, for tests that speak as one: not in FLOTILLA_PYTHON_PATH, because no client should.
set(FLOTILLA_PYTHON_PEER_STUBS ${CMAKE_CURRENT_BINARY_DIR}/python_peer_stubs)
set(peer_protos
    ${FLOTILLA_PROTO_DIR}/flotilla/internal/v1/peer.proto ${FLOTILLA_PROTO_DIR}/flotilla/internal/v1/raft.proto
    ${FLOTILLA_PROTO_DIR}/flotilla/internal/v1/forward.proto ${FLOTILLA_PROTO_DIR}/flotilla/internal/v1/raw.proto)
add_custom_command(
  OUTPUT ${FLOTILLA_PYTHON_PEER_STUBS}/generated
  COMMAND ${CMAKE_COMMAND} -E make_directory ${FLOTILLA_PYTHON_PEER_STUBS}
  COMMAND protobuf::protoc --proto_path=${FLOTILLA_PROTO_DIR} --python_out=${FLOTILLA_PYTHON_PEER_STUBS} ${peer_protos}
  COMMAND ${CMAKE_COMMAND} -E touch ${FLOTILLA_PYTHON_PEER_STUBS}/generated
  DEPENDS ${public_protos} ${peer_protos} protobuf::protoc
  COMMENT "Generating Python code from the protos of nodes"
  VERBATIM)
add_custom_target(flotilla_python_peer_stubs ALL DEPENDS ${FLOTILLA_PYTHON_PEER_STUBS}/generated)

# flotilla_python_test(NAME SCRIPT file.py [ARGUMENTS argument...] [ENVIRONMENT variable=value...] [LABEL label]
#                      [TIMEOUT seconds] [LOCK resource])
#
# One process of unittest; fails when the script does. LABEL defaults to `unit`, TIMEOUT to 60 seconds. Tests with the
# same LOCK do not run at the same time.
#
# Under sanitizers programs are slow: there is five times as much time for everything.
function(flotilla_python_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "SCRIPT;LABEL;TIMEOUT;LOCK" "ARGUMENTS;ENVIRONMENT")
  flotilla_refuse_unknown_arguments(flotilla_python_test ${name} "${arg_UNPARSED_ARGUMENTS}" "${arg_SCRIPT}")
  if(NOT arg_LABEL)
    set(arg_LABEL unit)
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 60)
  endif()
  if(FLOTILLA_SANITIZE)
    math(EXPR arg_TIMEOUT "${arg_TIMEOUT} * 5")
    list(APPEND arg_ENVIRONMENT FLOTILLA_SANITIZED=1 FLOTILLA_CLUSTER_PATIENCE_S=150)
  endif()
  add_test(NAME ${name} COMMAND ${FLOTILLA_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/${arg_SCRIPT} ${arg_ARGUMENTS})
  set_tests_properties(
    ${name} PROPERTIES LABELS ${arg_LABEL} TIMEOUT ${arg_TIMEOUT}
                       ENVIRONMENT "PYTHONPATH=${FLOTILLA_PYTHON_PATH};PYTHONDONTWRITEBYTECODE=1;${arg_ENVIRONMENT}")
  if(arg_LOCK)
    set_tests_properties(${name} PROPERTIES RESOURCE_LOCK ${arg_LOCK})
  endif()
endfunction()

# Counts of which branches of objectstore/ and runtime/ are taken; ./dev coverage tells of them.
#
# Most processes of this project's tests die by kill -9 or _exit, so counts that are written at exit say nothing.
# clang's lie in a file that each process maps, and adds to where it lies: %c in the file's name, which needs counters
# that can be relocated, and atomic ones, since many processes of a program count in one file (%m).
if(NOT CMAKE_C_COMPILER_ID MATCHES Clang)
    message(FATAL_ERROR "coverage needs clang: its counts survive kill -9, gcc's do not")
endif()
set(DMRT_COUNTING -fprofile-update=atomic "SHELL:-mllvm -runtime-counter-relocation")
target_compile_options(dmrt_objects PRIVATE -fprofile-instr-generate -fcoverage-mapping ${DMRT_COUNTING})
target_link_options(dmrt_link INTERFACE -fprofile-instr-generate)

# dmrt_counted(PROGRAM): it has a file of its own. Programs that differ only in the order of the library's objects
# would take each other's for theirs; the first object that names a file decides, and that is one of the program's.
function(dmrt_counted program)
    target_compile_options(${program} PRIVATE
        "-fprofile-instr-generate=${PROJECT_BINARY_DIR}/counts/${program}-%c%m.profraw" ${DMRT_COUNTING})
endfunction()

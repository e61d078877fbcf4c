# dmrt_add_test(NAME COMMAND ... [LABELS ...] [TIMEOUT seconds]): a test with a watchdog, the
# sanitizers' settings, and the machine to itself if its name contains _alone.

set(DMRT_TEST_ENVIRONMENT
    "ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:halt_on_error=1:use_sigaltstack=1"
    "UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1"
    "TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:history_size=4")

# GCC 12's sanitizers keep their shadow where a kernel that randomizes more than 28 bits of an
# address may put a mapping; there, tests run without randomization, if that is allowed.
set(DMRT_TEST_LAUNCHER "")
if(DMRT_SANITIZE AND EXISTS /proc/sys/vm/mmap_rnd_bits)
    execute_process(COMMAND cat /proc/sys/vm/mmap_rnd_bits OUTPUT_VARIABLE random_bits ERROR_QUIET)
    if(random_bits GREATER 28)
        execute_process(COMMAND setarch -R true RESULT_VARIABLE refused OUTPUT_QUIET ERROR_QUIET)
        if(refused EQUAL 0)
            set(DMRT_TEST_LAUNCHER setarch -R)
        endif()
    endif()
endif()

function(dmrt_add_test name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "TIMEOUT" "COMMAND;LABELS")
    if(NOT arg_TIMEOUT)
        set(arg_TIMEOUT 120)
    endif()
    add_test(NAME ${name} COMMAND ${DMRT_TEST_LAUNCHER} ${arg_COMMAND})
    set_tests_properties(${name} PROPERTIES
        TIMEOUT ${arg_TIMEOUT} LABELS "${arg_LABELS}" ENVIRONMENT "${DMRT_TEST_ENVIRONMENT}")
    if(name MATCHES "_alone")
        set_tests_properties(${name} PROPERTIES RUN_SERIAL ON)
    endif()
endfunction()

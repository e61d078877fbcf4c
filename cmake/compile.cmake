# How every file of this project is compiled and linked. Targets take it from two interface
# libraries, dmrt_compile and dmrt_link; nothing of it reaches a user of the installed libraries.

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

add_library(dmrt_compile INTERFACE)
# -fno-semantic-interposition: without it -fPIC forbids inlining our own public functions.
target_compile_options(dmrt_compile INTERFACE
    -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wcast-qual
    -Wvla -fno-omit-frame-pointer -fno-semantic-interposition
    $<$<BOOL:${DMRT_WERROR}>:-Werror>)
# Empty, so that a file that says so itself says the same.
target_compile_definitions(dmrt_compile INTERFACE _GNU_SOURCE=)
target_compile_definitions(dmrt_compile INTERFACE $<$<BOOL:${DMRT_DEBUG}>:DM_DEBUG=1>)

add_library(dmrt_link INTERFACE)
# --as-needed: a program that calls no fit does not load OpenBLAS (3 ms and 4 MB in every process).
target_link_options(dmrt_link INTERFACE LINKER:--as-needed)

# The way of a task through the library is fifty functions of a few instructions in ten files: seen as
# a whole it is a tenth shorter. Fat objects, so that the static library serves any linker.
if(CMAKE_C_COMPILER_ID STREQUAL GNU AND NOT CMAKE_BUILD_TYPE STREQUAL Debug AND NOT DMRT_SANITIZE)
    target_compile_options(dmrt_compile INTERFACE -flto=auto -ffat-lto-objects)
    target_link_options(dmrt_link INTERFACE -flto=auto)
endif()
# A record, a task and a view are cleared every time: by default GCC does that with an instruction whose start
# alone takes as long as half a task.
if(CMAKE_C_COMPILER_ID STREQUAL GNU AND CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
    set(clear_short_memory "-mmemset-strategy=vector_loop:256:noalign,libcall:-1:noalign")
    target_compile_options(dmrt_compile INTERFACE ${clear_short_memory})
    target_link_options(dmrt_link INTERFACE ${clear_short_memory}) # where it is compiled together
endif()
# Thread-local words (who am I, do I hold the role) are read several times a task.
target_compile_options(dmrt_compile INTERFACE -ftls-model=initial-exec)

# Kernels: numerics that exist once for each instruction set, in files that say so at their end. Always
# -O3, because their loops must be unrolled to stay in registers.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
    set(DMRT_KERNEL_avx2 -march=x86-64-v3)
    set(DMRT_KERNEL_avx512 -march=x86-64-v4)
endif()
foreach(isa plain avx2 avx512)
    file(GLOB kernels CONFIGURE_DEPENDS models/*_${isa}.c)
    set_source_files_properties(${kernels} PROPERTIES COMPILE_OPTIONS "-O3;${DMRT_KERNEL_${isa}}")
endforeach()

if(DMRT_SANITIZE)
    target_compile_options(dmrt_compile INTERFACE
        -fsanitize=${DMRT_SANITIZE} -fno-sanitize-recover=all)
    target_link_options(dmrt_link INTERFACE -fsanitize=${DMRT_SANITIZE})
endif()

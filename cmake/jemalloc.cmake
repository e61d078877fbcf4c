# jemalloc, for the store's heap alone: decision 9.
#
# Debian's library defines malloc for the whole program, brings the C++ runtime with it and sets itself up
# while a program is loaded; that was half of what a worker's start cost. From its static library the linker
# takes what heap.c needs, as one object:
# - its names are local but for a few, which are renamed;
# - without its constructor: jemalloc sets itself up when it is first called;
# - it asks heap.c, and not the environment, for its settings, which are for the program's own jemalloc;
# - so that it never profiles, and what it would profile with (libm, the unwinder) is not loaded for it.
#
# Where there is no such library, the shared one is linked.
set(DMRT_JEMALLOC_NAMES mallocx dallocx nallocx mallctl mallctlbymib mallctlnametomib)

pkg_get_variable(jemalloc_libdir jemalloc libdir)
find_library(DMRT_JEMALLOC_ARCHIVE libjemalloc_pic.a HINTS ${jemalloc_libdir})
# GNU's: beside clang, CMake may have chosen LLVM's linker, which takes no archive alone.
find_program(DMRT_GNU_LD NAMES ld.bfd ld)
find_program(DMRT_GNU_OBJCOPY NAMES objcopy)
if(NOT DMRT_JEMALLOC_ARCHIVE OR NOT DMRT_GNU_LD OR NOT DMRT_GNU_OBJCOPY)
    list(APPEND DMRT_RUNTIME_MODULES jemalloc)
    return()
endif()

set(DMRT_JEMALLOC_OBJECT ${PROJECT_BINARY_DIR}/dmrt_jemalloc.o)
foreach(name ${DMRT_JEMALLOC_NAMES})
    list(APPEND needed -u ${name})
    list(APPEND kept --keep-global-symbol=dmi_${name} --redefine-sym ${name}=dmi_${name})
    target_compile_definitions(dmrt_compile INTERFACE ${name}=dmi_${name})
endforeach()
add_custom_command(OUTPUT ${DMRT_JEMALLOC_OBJECT}
    COMMAND ${DMRT_GNU_LD} -r -o ${DMRT_JEMALLOC_OBJECT} ${needed} ${DMRT_JEMALLOC_ARCHIVE}
    COMMAND ${DMRT_GNU_OBJCOPY} ${kept} --remove-section=.init_array --remove-section=.rela.init_array
            --redefine-sym secure_getenv=dmi_heap_getenv --redefine-sym readlink=dmi_heap_readlink
            --weaken-symbol=_Unwind_Backtrace --weaken-symbol=_Unwind_GetIP
            --weaken-symbol=exp --weaken-symbol=log --weaken-symbol=round ${DMRT_JEMALLOC_OBJECT}
    DEPENDS ${DMRT_JEMALLOC_ARCHIVE} VERBATIM
    COMMENT "Taking what the heap needs out of ${DMRT_JEMALLOC_ARCHIVE}")
set_source_files_properties(${DMRT_JEMALLOC_OBJECT} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)

# The libraries dmrt stands on, found by pkg-config; `dev` has the list of Debian packages.
#
# Only names and directories are kept (no imported targets), so that an installed tree can be used
# without finding any of this again.
find_package(PkgConfig REQUIRED)
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)

# Links `group` with each pkg-config module that follows.
function(dmrt_modules group)
    foreach(module ${ARGN})
        pkg_check_modules(${module} REQUIRED QUIET ${module})
        list(APPEND DMRT_${group}_LIBRARIES ${${module}_LIBRARIES})
        list(APPEND DMRT_${group}_INCLUDE_DIRS ${${module}_INCLUDE_DIRS})
    endforeach()
    list(REMOVE_DUPLICATES DMRT_${group}_LIBRARIES)
    list(REMOVE_DUPLICATES DMRT_${group}_INCLUDE_DIRS)
    set(DMRT_${group}_LIBRARIES ${DMRT_${group}_LIBRARIES} PARENT_SCOPE)
    set(DMRT_${group}_INCLUDE_DIRS ${DMRT_${group}_INCLUDE_DIRS} PARENT_SCOPE)
endfunction()

# msgpack for C is `msgpack` in Debian 12, `msgpack-c` in later ones.
pkg_search_module(MSGPACK REQUIRED QUIET msgpack-c msgpack)
set(DMRT_MSGPACK_MODULE ${MSGPACK_MODULE_NAME})

set(DMRT_RUNTIME_MODULES libuv ${DMRT_MSGPACK_MODULE} liblz4)
include(cmake/jemalloc.cmake)
dmrt_modules(RUNTIME ${DMRT_RUNTIME_MODULES})
pkg_check_modules(xxhash REQUIRED QUIET libxxhash) # for its header
list(APPEND DMRT_RUNTIME_INCLUDE_DIRS ${xxhash_INCLUDE_DIRS})
dmrt_modules(MODELS openblas lapacke zlib)
dmrt_modules(TOOLS libcjson libpng zlib)
list(APPEND DMRT_RUNTIME_LIBRARIES pthread)

# The NIfTI library has no pkg-config file.
find_path(NIFTI_INCLUDE_DIR nifti/nifti1_io.h REQUIRED)
find_library(NIFTI_LIBRARY niftiio REQUIRED)
list(PREPEND DMRT_MODELS_LIBRARIES niftiio znz)
list(APPEND DMRT_MODELS_LIBRARIES m)
# Its headers include each other without their folder.
list(APPEND DMRT_MODELS_INCLUDE_DIRS ${NIFTI_INCLUDE_DIR} ${NIFTI_INCLUDE_DIR}/nifti)

# bench_more_cores: the model, for the program that asks it and for its tests. Of the runtime it links the policy.
file(GLOB more_cores_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.c ${CMAKE_CURRENT_LIST_DIR}/../implied/*.c)
add_library(bench_more_cores STATIC EXCLUDE_FROM_ALL ${more_cores_sources})
target_include_directories(bench_more_cores PRIVATE ${PROJECT_SOURCE_DIR})
target_include_directories(bench_more_cores SYSTEM PRIVATE ${DMRT_TOOLS_INCLUDE_DIRS})
target_link_libraries(bench_more_cores PRIVATE dmrt_compile PUBLIC dmrt_static ${DMRT_TOOLS_LIBRARIES} m)

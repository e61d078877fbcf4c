# dmrt_task_rows: the rows on dmrt, compiled into the contestant of this question and into `dm`. Published
# figures become a C table of published.jsonl, so that they are written down once.
set(published ${CMAKE_CURRENT_LIST_DIR}/../published.jsonl)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${published})
file(STRINGS ${published} lines)
set(table "")
foreach(line IN LISTS lines)
    string(JSON name GET "${line}" case)
    string(JSON by GET "${line}" contestant)
    string(JSON machine GET "${line}" params machine)
    string(JSON median GET "${line}" median)
    string(APPEND table "    {\"${name}\", \"${by}\", \"${machine}\", ${median}},\n")
endforeach()
file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/generated/published_figures.inc CONTENT "${table}" @ONLY)

add_library(dmrt_task_rows INTERFACE)
file(GLOB rows_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.c)
target_sources(dmrt_task_rows INTERFACE ${rows_sources})
target_include_directories(dmrt_task_rows INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR}/generated)

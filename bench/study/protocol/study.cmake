# dmrt_study: the study's protocol, compiled into `dm`. Others' figures and prices become C tables of
# published.csv and prices.csv, so that they are written down once.
function(dmrt_study_table name)
    set(source ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/../${name}.csv)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${source})
    file(STRINGS ${source} lines REGEX "^[^#]")
    list(TRANSFORM lines REPLACE "^([^,]+),(.*)$" "    {\"\\1\", \\2},\n")
    list(JOIN lines "" CONTENT)
    file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/generated/study_${name}.inc CONTENT "${CONTENT}" @ONLY)
endfunction()
dmrt_study_table(published)
dmrt_study_table(prices)

add_library(dmrt_study INTERFACE)
file(GLOB study_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.c)
target_sources(dmrt_study INTERFACE ${study_sources})
target_include_directories(dmrt_study INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR}/generated)

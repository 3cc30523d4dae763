zephyr_library_named(NAMED_model)
zephyr_library_sources(${CMAKE_CURRENT_LIST_DIR}/../src/NAMED.c)
zephyr_include_directories(${CMAKE_CURRENT_LIST_DIR}/../src)

# The guide as one HTML page with a search: cmake --build build/release --target site, then build/release/guide.html. Needs
# cmark-gfm and Python.
find_program(LOUPE_CMARK cmark-gfm)
mark_as_advanced(LOUPE_CMARK)
find_package(Python3 QUIET COMPONENTS Interpreter)
if(LOUPE_CMARK AND Python3_FOUND)
  add_custom_target(site COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/docs/site/make.py ${PROJECT_BINARY_DIR}/guide.html
                    VERBATIM)
endif()

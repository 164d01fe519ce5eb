# The live lesson: the library as WebAssembly (cmake --preset web, with the distribution's emscripten), and the one-file page
# around it, build/web/live.html. Only the headers of fmt and Python are needed besides.
find_path(LOUPE_FMT_INCLUDE fmt/core.h PATHS /usr/include NO_CMAKE_FIND_ROOT_PATH REQUIRED)
find_package(Python3 COMPONENTS Interpreter REQUIRED)
file(CREATE_LINK ${LOUPE_FMT_INCLUDE}/fmt ${PROJECT_BINARY_DIR}/include/fmt SYMBOLIC)
target_compile_definitions(loupe_flags INTERFACE FMT_HEADER_ONLY)
# No memory here is larger than 32 bits count, nor is an iterator's difference.
target_compile_options(loupe_flags INTERFACE -msimd128 -fwasm-exceptions -Wno-shorten-64-to-32)

# Everything between the tensor and the models, without files; of the lesson its networks and statistics.
file(GLOB WEB_LIBRARY CONFIGURE_DEPENDS core/*.cpp core/kernels/*/*.cpp
  autograd/*.cpp autograd/ops/*.cpp layers/*.cpp optim/*.cpp models/*.cpp)
list(FILTER WEB_LIBRARY EXCLUDE REGEX "/blas[.]cpp$")  # no_blas.cpp stands in its place
list(FILTER WEB_LIBRARY EXCLUDE REGEX "/micro/")
list(APPEND WEB_LIBRARY core/kernels/micro/paths.cpp lesson/nets.cpp lesson/stats.cpp)
file(GLOB WEB_EXPLAIN CONFIGURE_DEPENDS view/explain*.cpp)
embed(VIEW_TEXTS view.cpp loupe/view/page.h loupe::view embedded view/*.css)
add_library(loupe_web STATIC ${WEB_LIBRARY} ${WEB_EXPLAIN} view/document.cpp view/page.cpp
  view/words.cpp ${VIEW_TEXTS} ${MICRO_OBJECTS})
unite(loupe_web)
target_link_libraries(loupe_web PUBLIC loupe_flags)
target_precompile_headers(loupe_web PRIVATE <fmt/core.h> <algorithm> <atomic> <cmath> <functional> <map> <memory> <mutex> <optional>
  <span> <string> <unordered_map> <variant> <vector>)

# The module and its glue: no threads, no file system, memory that grows.
add_executable(live web/exports.cpp web/live.cpp web/look.cpp lesson/order.cpp)
target_link_libraries(live PRIVATE loupe_web)
# emscripten's own scripts need Debian's packages of node, wherever node itself comes from.
set_target_properties(live PROPERTIES RULE_LAUNCH_LINK "${CMAKE_COMMAND} -E env NODE_PATH=/usr/share/nodejs")
target_link_options(live PRIVATE -O2 -fwasm-exceptions -sMODULARIZE=1 -sEXPORT_NAME=createLoupe -sALLOW_MEMORY_GROWTH=1
  -sINITIAL_MEMORY=67108864 -sFILESYSTEM=0 -sENVIRONMENT=worker,node "-sEXPORTED_FUNCTIONS=[_malloc,_free]"
  "-sEXPORTED_RUNTIME_METHODS=[stringToUTF8,UTF8ToString,HEAPU8]")

# The page, with the module, the worker and the data inside.
file(GLOB WEB_PAGE CONFIGURE_DEPENDS web/*.html web/*.css web/*.js view/page.css lesson/c*.txt lesson/shipped.txt)
set(WEB_OUT ${PROJECT_BINARY_DIR}/live.html)
add_custom_command(OUTPUT ${WEB_OUT}
  COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/web/pack.py ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR}/live.js
    ${PROJECT_BINARY_DIR}/live.wasm ${WEB_OUT}
  DEPENDS live web/pack.py ${WEB_PAGE} VERBATIM)
add_custom_target(page ALL DEPENDS ${WEB_OUT})

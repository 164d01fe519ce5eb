#!/bin/sh
# The ways into the library, each tried from outside: tests/doors.sh BUILD WAY
#   installed    cmake --install, the tree moved: find_package and pkg-config; no path of this machine in any file
#   subproject   a project around Loupe: without the program's libraries, and nothing of Loupe's leaks into it (configure only)
#   symbols      the library defines nothing outside namespace loupe
#   headers      every installed header compiles alone, without a warning
#   fetch        FetchContent from the sources, here as a shared library
#   shared       libloupe.so: built, installed, moved, and its three .debs
#   deb          the .debs unpacked into an empty root
# ends with 77 where a tool for the way is missing.
set -eu
tests=$(cd "$(dirname "$0")" && pwd)
source=$(dirname "$tests")
build=$(cd "$1" && pwd)
way=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
if command -v ccache >/dev/null; then
  export CMAKE_CXX_COMPILER_LAUNCHER=ccache CCACHE_SLOPPINESS=pch_defines,time_macros
fi
compiler=$(sed -n 's/^CMAKE_CXX_COMPILER:[A-Z]*=//p' "$build/CMakeCache.txt")
export CXX="$compiler"

fail() {
  echo "doors: $*" >&2
  exit 1
}
need() {
  command -v "$1" >/dev/null || {
    echo "skipped: no $1"
    exit 77
  }
}
quietly() { "$@" > log 2>&1 || { cat log; exit 1; }; }

# Files that name the sources, the build or the first place of installation.
no_machine_paths() {
  if grep -rlF -e "$source" -e "$build" -e "$folder/first" -e "$folder/build" "$1"; then
    fail "these files hold a path of this machine"
  fi
}
consumer() {  # with options of CMake
  quietly cmake -S "$source/examples/consumer" -B consumer -DCMAKE_BUILD_TYPE=Release "$@"
  quietly cmake --build consumer -j 2
  consumer/consumer
}
# Strong symbols are namespace loupe's; weak ones may be instances of others' templates, but never C names.
static_symbols() {
  nm -g --defined-only "$1" 2>/dev/null | awk 'NF == 3 {print $2, $3}' | sort -u > symbols
  [ "$(wc -l < symbols)" -gt 500 ] || fail "nm saw no symbols"
  if awk '$1 ~ /^[TDBRSGiC]$/ && $2 !~ /^_Z(T[VISTW])?(GV)?Z?N[KRO]*5loupe/' symbols | grep .; then
    fail "defined outside namespace loupe"
  fi
  if awk '$2 !~ /^_Z/ && $2 !~ /^DW\.ref\./' symbols | grep .; then fail "names that are not C++"; fi
  # A loop of simd() that was not inlined into the function of its level calls the C library for each fused multiply-add.
  if nm -u "$1" 2>/dev/null | grep -E ' U fmaf?$'; then fail "a loop is not compiled for its level"; fi
}
# A weak function in code for v3 or v4 could be the one the linker keeps for every machine.
level_symbols() {
  for level in v3 v4; do
    set -- "$build"/CMakeFiles/loupe_micro_$level.dir/core/kernels/micro/*.o
    nm -g --defined-only "$@" | awk 'NF == 3 {print $2, $3}' > symbols
    [ -s symbols ] || fail "no objects of $level"
    if grep '^[WVu] ' symbols; then fail "weak symbols in the objects of $level"; fi
  done
}
shared_symbols() {
  nm -D --defined-only "$1" | awk 'NF == 3 {print $3}' > symbols
  [ "$(wc -l < symbols)" -gt 500 ] || fail "nm saw no symbols"
  if grep -v '^_Z.*5loupe' symbols; then fail "exported, and not of namespace loupe"; fi
}
# The .debs of a build folder in debs/, unpacked in root/.
make_debs() {
  need dpkg-shlibdeps
  need file
  quietly cpack --config "$1/CPackConfig.cmake" -G DEB -B debs
  mkdir root
  for deb in debs/*.deb; do
    dpkg-deb -f "$deb" Package Version Depends
    dpkg-deb -x "$deb" root
  done
  no_machine_paths root
}
# $1 may be a pattern.
depends() { dpkg-deb -f debs/$1_*.deb Depends; }  # shellcheck disable=SC2086

case $way in
  installed)
    quietly cmake --install "$build" --prefix "$folder/first"
    mkdir moved && mv first moved/loupe
    no_machine_paths moved
    moved/loupe/bin/loupe --version
    consumer -DCMAKE_PREFIX_PATH="$folder/moved/loupe"
    if command -v pkg-config >/dev/null; then
      export PKG_CONFIG_PATH=$folder/moved/loupe/lib/pkgconfig
      # shellcheck disable=SC2046
      "$CXX" -std=c++20 "$source"/examples/consumer/*.cpp $(pkg-config --cflags --libs loupe) -o by_hand
      ./by_hand > /dev/null
    fi
    cat > CMakeLists.txt <<'EOF'
cmake_minimum_required(VERSION 3.25)
project(Parts LANGUAGES CXX)
find_package(loupe 0.2 REQUIRED COMPONENTS dev program)
get_target_property(program loupe::program IMPORTED_LOCATION_RELEASE)
execute_process(COMMAND ${program} --version COMMAND_ERROR_IS_FATAL ANY)
foreach(wrong 0.1 0.3 1)  # before 1.0 a minor version is another interface
  find_package(loupe ${wrong} QUIET)
  if(loupe_FOUND)
    message(FATAL_ERROR "0.2 passes for ${wrong}")
  endif()
endforeach()
find_package(loupe 0.2 QUIET COMPONENTS violin)
if(loupe_FOUND)
  message(FATAL_ERROR "found with a component that there is not")
endif()
EOF
    quietly cmake -B parts -DCMAKE_PREFIX_PATH="$folder/moved/loupe" .
    # Training by several processes, which only who asks for it needs MPI for.
    mkdir several
    cat > several/CMakeLists.txt <<'EOF'
cmake_minimum_required(VERSION 3.25)
project(Several LANGUAGES CXX)
find_package(loupe 0.2 REQUIRED COMPONENTS distributed)
add_executable(several several.cpp)
target_link_libraries(several PRIVATE loupe::distributed)
EOF
    cat > several/several.cpp <<'EOF'
#include <loupe/distributed/data_parallel.h>
int main() {
  loupe::Communicator comm;
  return comm.sum({1.0})[0] == comm.size() ? 0 : 1;
}
EOF
    quietly cmake -S several -B several/build -DCMAKE_PREFIX_PATH="$folder/moved/loupe"
    quietly cmake --build several/build
    several/build/several
    ;;
  subproject)
    cat > CMakeLists.txt <<'EOF'
cmake_minimum_required(VERSION 3.25)
project(Around LANGUAGES CXX)
get_cmake_property(before CACHE_VARIABLES)
set(flags "${CMAKE_CXX_FLAGS}|${CMAKE_CXX_FLAGS_RELEASE}|${CMAKE_CXX_FLAGS_DEBUG}")
add_subdirectory(${LOUPE_SOURCE} loupe)
get_cmake_property(after CACHE_VARIABLES)
list(REMOVE_ITEM after ${before} before)
# Beside Loupe's own: what find_package keeps.
list(FILTER after EXCLUDE REGEX "^(LOUPE_|Loupe_|fmt_DIR|(_)?OPENSSL_|ZLIB_|OpenSSL|pkgcfg_|PKG_CONFIG|FIND_PACKAGE_|CMAKE_HAVE_|CMAKE_DISABLE_|CMAKE_PROJECT_|__pkg_config_|prefix_result|_OPENSSL|FETCHCONTENT_)")
if(after)
  message(FATAL_ERROR "set in the cache: ${after}")
endif()
if(NOT flags STREQUAL "${CMAKE_CXX_FLAGS}|${CMAKE_CXX_FLAGS_RELEASE}|${CMAKE_CXX_FLAGS_DEBUG}" OR DEFINED CMAKE_CXX_STANDARD
   OR CMAKE_BUILD_TYPE OR CMAKE_EXPORT_COMPILE_COMMANDS)
  message(FATAL_ERROR "global settings changed")
endif()
foreach(property INTERFACE_COMPILE_OPTIONS INTERFACE_COMPILE_DEFINITIONS INTERFACE_LINK_OPTIONS)
  get_target_property(value loupe::loupe ${property})
  if(value)
    message(FATAL_ERROR "${property} of loupe::loupe: ${value}")
  endif()
endforeach()
get_directory_property(options COMPILE_OPTIONS)
get_property(targets DIRECTORY ${LOUPE_SOURCE} PROPERTY BUILDSYSTEM_TARGETS)
list(FILTER targets EXCLUDE REGEX "^loupe(_flags|_micro_(baseline|v3|v4))?$")
get_property(tests DIRECTORY ${LOUPE_SOURCE} PROPERTY TESTS)
if(options OR targets OR tests)
  message(FATAL_ERROR "leaked: options '${options}', targets '${targets}', tests '${tests}'")
endif()
add_executable(around around.cpp)
target_link_libraries(around PRIVATE loupe::loupe)
EOF
    echo 'int main() {}' > around.cpp
    quietly cmake -B around -G Ninja -DCMAKE_EXPORT_COMPILE_COMMANDS=OFF -DLOUPE_SOURCE="$source" \
      -DCMAKE_DISABLE_FIND_PACKAGE_CLI11=ON -DCMAKE_DISABLE_FIND_PACKAGE_nlohmann_json=ON -DCMAKE_DISABLE_FIND_PACKAGE_Catch2=ON .
    # How around.cpp is compiled: C++20, the headers' folder, no more.
    ninja -C around -t commands around | grep -- ' -c .*around.cpp' > command
    grep -qe '-std=\(gnu++\|c++\)20' command || fail "no C++20: $(cat command)"
    if grep -oe ' -[Wfm][^ ]*' command; then fail "flags leak into the project around"; fi
    ;;
  symbols)
    static_symbols "$build/libloupe.a"
    level_symbols
    ;;
  headers)
    quietly cmake --install "$build" --prefix "$folder/first" --component dev
    find first/include -name '*.h' | sed 's|^first/include/||' | sort > headers
    [ "$(wc -l < headers)" -gt 60 ] || fail "few headers are installed"
    while read -r header; do
      printf '#include <%s>\n#include <%s>\n' "$header" "$header" > one.cpp
      "$CXX" -std=c++20 -fsyntax-only -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -I first/include one.cpp ||
        fail "$header does not compile alone"
    done < headers
    ;;
  # Without optimisation: what is tried is the way in, and it takes a third of the time.
  fetch)
    consumer -DLOUPE_SOURCE="$source" -DBUILD_SHARED_LIBS=ON -DCMAKE_CXX_FLAGS_RELEASE=-O0
    shared_symbols "$(find consumer -name libloupe.so)"
    ;;
  shared)
    mkdir build
    # Of no build type: without optimisation too. What each symbol becomes and where files go does not depend on it.
    quietly cmake -S "$source" -B build -G Ninja -DCMAKE_BUILD_TYPE=None -DBUILD_SHARED_LIBS=ON -DLOUPE_TESTS=OFF -DLOUPE_EXAMPLES=OFF
    quietly cmake --build build -j 2
    shared_symbols build/libloupe.so
    quietly cmake --install build --prefix "$folder/first"
    mkdir moved && mv first moved/loupe
    no_machine_paths moved
    moved/loupe/bin/loupe --version
    consumer -DCMAKE_PREFIX_PATH="$folder/moved/loupe"
    make_debs build
    depends loupe | grep -q 'libloupe0' || fail "the program's package does not ask for the library's"
    depends libloupe0.* | grep -q libopenblas || fail "the library's package does not ask for OpenBLAS"
    ;;
  deb)
    make_debs "$build"
    root/usr/bin/loupe --version
    for library in libopenblas libfmt zlib1g libc6; do
      depends loupe | grep -q "$library" || fail "the program's package does not ask for $library"
    done
    if depends loupe | grep -e '-dev'; then fail "the program needs no headers"; fi
    consumer -DCMAKE_PREFIX_PATH="$folder/root/usr"
    ;;
  *) fail "unknown way: $way" ;;
esac

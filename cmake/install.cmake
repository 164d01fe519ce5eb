# Installing and packaging: `cmake --install`, `cpack -G DEB`. Three components:
#   lib      the shared library (only with BUILD_SHARED_LIBS)
#   dev      headers, the static library, the files of find_package and pkg-config
#   program  the program `loupe`
# No installed file holds a path of this machine: the whole tree can be moved.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(inner "")
foreach(path ${LOUPE_INNER_HEADERS})
  list(APPEND inner PATTERN ${path} EXCLUDE)
endforeach()
install(DIRECTORY ${LOUPE_FOLDERS} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/loupe COMPONENT dev
  FILES_MATCHING PATTERN "*.h" ${inner})
install(FILES loupe.h fwd.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/loupe COMPONENT dev)
install(TARGETS loupe EXPORT loupe-targets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT dev
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT lib NAMELINK_COMPONENT dev
  INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

set(cmake_files ${CMAKE_INSTALL_LIBDIR}/cmake/loupe)
install(EXPORT loupe-targets NAMESPACE loupe:: DESTINATION ${cmake_files} COMPONENT dev)
# Training by several processes is a part of its own, so that nobody else needs MPI.
install(TARGETS loupe_distributed EXPORT loupe-distributed ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT dev)
set_target_properties(loupe_distributed PROPERTIES EXPORT_NAME distributed)
install(EXPORT loupe-distributed NAMESPACE loupe:: DESTINATION ${cmake_files} COMPONENT dev)
set(LOUPE_WITH_MPI OFF)
if(MPI_CXX_FOUND)
  set(LOUPE_WITH_MPI ON)
endif()
set(LOUPE_SHARED OFF)
if(BUILD_SHARED_LIBS)
  set(LOUPE_SHARED ON)
endif()
configure_package_config_file(cmake/loupe-config.cmake.in ${PROJECT_BINARY_DIR}/cmake/loupe-config.cmake
  INSTALL_DESTINATION ${cmake_files})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/cmake/loupe-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/cmake/loupe-config.cmake ${PROJECT_BINARY_DIR}/cmake/loupe-config-version.cmake
  DESTINATION ${cmake_files} COMPONENT dev)
if(CMAKE_VERSION VERSION_GREATER_EQUAL 4.3)  # the first that knows the Common Package Specification
  install(PACKAGE_INFO loupe EXPORT loupe-targets VERSION ${PROJECT_VERSION} COMPAT_VERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/cps/loupe COMPONENT dev)
endif()

# pkg-config. The file finds its prefix from where it lies.
file(RELATIVE_PATH LOUPE_PC_PREFIX /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
string(REGEX REPLACE "/$" "" LOUPE_PC_PREFIX "\${pcfiledir}/${LOUPE_PC_PREFIX}")
set(LOUPE_PC_REQUIRES fmt)
set(LOUPE_PC_LIBS "")
if(NOT BUILD_SHARED_LIBS)
  set(LOUPE_PC_REQUIRES "fmt zlib libcrypto")
  set(LOUPE_PC_LIBS " -lopenblas -pthread")
endif()
configure_file(cmake/loupe.pc.in ${PROJECT_BINARY_DIR}/cmake/loupe.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/cmake/loupe.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT dev)

# What the Debian packages are called.
set(package_lib libloupe${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
set(package_dev libloupe-dev)
set(package_program loupe)
set(components dev)
if(BUILD_SHARED_LIBS)
  list(APPEND components lib)
endif()
if(TARGET loupe_cli)
  list(APPEND components program)
  file(RELATIVE_PATH to_lib /prefix/${CMAKE_INSTALL_BINDIR} /prefix/${CMAKE_INSTALL_LIBDIR})
  set_target_properties(loupe_cli PROPERTIES INSTALL_RPATH "$<$<BOOL:${BUILD_SHARED_LIBS}>:$ORIGIN/${to_lib}>" EXPORT_NAME program)
  install(TARGETS loupe_cli EXPORT loupe-program RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT program)
  install(EXPORT loupe-program NAMESPACE loupe:: DESTINATION ${cmake_files} COMPONENT program)
endif()
foreach(component ${components})
  install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/${package_${component}} COMPONENT ${component} RENAME copyright)
endforeach()

if(NOT PROJECT_IS_TOP_LEVEL)
  return()
endif()
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME loupe)
set(CPACK_PACKAGE_VENDOR "The Loupe authors")
set(CPACK_PACKAGE_CONTACT "The Loupe authors <loupe@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL ${components})
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${PROJECT_BINARY_DIR})
foreach(component ${components})
  string(TOUPPER ${component} upper)
  set(CPACK_DEBIAN_${upper}_PACKAGE_NAME ${package_${component}})
endforeach()
set(CPACK_DEBIAN_LIB_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_LIB_PACKAGE_SHLIBDEPS ON)
set(CPACK_COMPONENT_LIB_DESCRIPTION "The shared library.")
set(CPACK_COMPONENT_DEV_DESCRIPTION "Headers, library and the files of find_package and pkg-config.")
set(CPACK_COMPONENT_PROGRAM_DESCRIPTION "The program: train, evaluate, sample, the lesson.")
set(CPACK_DEBIAN_PROGRAM_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_RECOMMENDS "dataset-fashion-mnist, wamerican")
# The archive was compiled against one major version of fmt, whose namespace carries it.
string(REGEX MATCH "^[0-9]+" fmt_major ${fmt_VERSION})
math(EXPR fmt_next "${fmt_major} + 1")
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEV_PACKAGE_DEPENDS
  "libfmt-dev (>= ${fmt_major}), libfmt-dev (<< ${fmt_next}~), zlib1g-dev, libssl-dev, libopenblas-dev")
if(BUILD_SHARED_LIBS)
  set(own "${package_lib} (= ${PROJECT_VERSION})")
  set(CPACK_DEBIAN_DEV_PACKAGE_DEPENDS "${own}, libfmt-dev (>= ${fmt_major}), libfmt-dev (<< ${fmt_next}~)")
  set(CPACK_DEBIAN_PROGRAM_PACKAGE_DEPENDS "${own}")
endif()
include(CPack)

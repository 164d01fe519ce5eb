# Writes OUT, a source with the commit that ROOT is at: "1a2b3c4d5e6f", with "-dirty" behind it where files differ from it;
# "unknown" without git.
#   cmake -DROOT=<source folder> -DOUT=<file> -P commit.cmake
set(commit unknown)
find_package(Git QUIET)
if(GIT_FOUND)
  execute_process(COMMAND ${GIT_EXECUTABLE} -C ${ROOT} describe --always --dirty --abbrev=12 --exclude=*
    OUTPUT_VARIABLE found RESULT_VARIABLE failed OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(NOT failed)
    set(commit ${found})
  endif()
endif()
file(WRITE ${OUT}.new "#include <loupe/lesson/commit.h>\n\nnamespace loupe::lesson {\nconst char* const kCommit = \"${commit}\";\n}\n")
file(COPY_FILE ${OUT}.new ${OUT} ONLY_IF_DIFFERENT)

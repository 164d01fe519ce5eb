# Writes OUT, a source with the claims' sources in it, so that the report shows the code that made it.
#   cmake -DROOT=<source folder> -DOUT=<file> -P sources.cmake
file(GLOB claims RELATIVE ${ROOT} ${ROOT}/lesson/c[0-9]*.cpp)
list(SORT claims COMPARE NATURAL)
file(WRITE ${OUT}.new "#include <loupe/lesson/report.h>\n\nnamespace loupe::lesson {\n\n"
  "std::string_view source_of(std::string_view file) {\n")
foreach(claim ${claims})
  file(READ ${ROOT}/${claim} text)
  file(APPEND ${OUT}.new "  if (file == \"${claim}\") return R\"source(${text})source\";\n")
endforeach()
file(APPEND ${OUT}.new "  return {};\n}\n\n}  // namespace loupe::lesson\n")
file(RENAME ${OUT}.new ${OUT})

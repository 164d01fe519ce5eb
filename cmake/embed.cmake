# Writes OUT, a source with the text of files in it, so that a program needs no source tree to run.
#   cmake -DROOT=<source folder> -DFILES=<a,b,c: names below ROOT> -DDECLARE=<header> -DNAMESPACE=<a::b>
#         -DFUNCTION=<name> -DOUT=<file> -P embed.cmake
# The function takes a file's name below ROOT and returns its text; nothing for a name it does not know.
string(REPLACE "," ";" files "${FILES}")
file(WRITE ${OUT}.new "#include <${DECLARE}>\n\nnamespace ${NAMESPACE} {\n\n"
  "std::string_view ${FUNCTION}(std::string_view file) {\n")
foreach(name ${files})
  file(READ ${ROOT}/${name} text)
  file(APPEND ${OUT}.new "  if (file == \"${name}\")\n    return R\"embedded(${text})embedded\";\n")
endforeach()
file(APPEND ${OUT}.new "  return {};\n}\n\n}  // namespace ${NAMESPACE}\n")
file(RENAME ${OUT}.new ${OUT})

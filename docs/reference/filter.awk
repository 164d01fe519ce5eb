# What Doxygen reads of a header, line for line:
#   the comment under `#pragma once` tells what the file is for  -> the file's own page
#   a comment behind a member                                     -> that member's description
#   how fmt prints a type                                         -> nothing: it is not a part of the interface
/^#pragma once/ { print "/// @file"; top = 1; next }
top && /^\/\// { sub(/^\/\//, "///"); print; next }
{ top = 0 }
/^template <.*> struct fmt::formatter/ { formatter = 1 }
formatter { formatter = !/^};/; print ""; next }
{ gsub(/et al\. /, "et al.\\ ") }  # not the end of a sentence
/^ +[^ \/].*[;,] +\/\/ / { sub(/\/\/ /, "///< ") }
{ print }

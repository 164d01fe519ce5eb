// `loupe gallery`: every bug's check speaks of the wrong code alone, and the committed page and
// pictures are those of a fresh run.
#include "program.h"

namespace {

std::string committed(const std::string& name) {
  return loupe::read_file(LOUPE_SOURCE_ROOT "/docs/" + name);
}

// The names of the list's lines.
std::vector<std::string> names() {
  std::vector<std::string> found;
  std::istringstream lines(loupe_program("gallery").out);
  for (std::string line; std::getline(lines, line) && !line.empty();)
    found.push_back(line.substr(0, line.find(' ')));
  return found;
}

}  // namespace

TEST_CASE("gallery: the list, one bug, and a name that is not there") {
  REQUIRE(names().size() >= 16);
  const Output one = loupe_program("gallery every_way_again");
  CHECK(one.code == 0);
  CHECK(one.out.find("of the right code: nothing") != std::string::npos);
  CHECK(one.out.find("the difference quotient is") != std::string::npos);
  const Output none = loupe_program("gallery nothing_like_it");
  CHECK(none.code == 1);
  CHECK(none.err.find("there is no bug \"nothing_like_it\"") != std::string::npos);
}

TEST_CASE("gallery: the page and its pictures are those of a fresh run", "[.full]") {
  const Folder folder;
  const Output written =
      loupe_program("gallery --write " + folder.path.string(), "LOUPE_CPU=reference");
  INFO(written.err);
  REQUIRE(written.code == 0);  // and no check is silent about its bug, or speaks of right code
  CHECK(loupe::read_file(folder / "gallery.md") == committed("gallery.md"));
  for (const std::string& name : names()) {
    CAPTURE(name);
    CHECK(loupe::read_file(folder / ("gallery/" + name + ".svg")) ==
          committed("gallery/" + name + ".svg"));
  }
}

// `loupe gallery`: published bugs, run.
#include <loupe/cli/commands.h>
#include <loupe/cli/console.h>
#include <loupe/exercises/gallery/gallery.h>
#include <loupe/io/file.h>

#include <fmt/format.h>

#include <filesystem>

namespace loupe::cli {
namespace {

void list_all() {
  std::string text;
  for (const gallery::Bug& bug : gallery::bugs())
    text += fmt::format("{:<28} {:<52} {}\n", bug.name, bug.title, bug.source);
  write_out(text + "\nloupe gallery NAME runs one of them.\n");
}

void write_page(const std::string& folder) {
  std::filesystem::create_directories(folder + "/gallery");
  write_file(folder + "/gallery.md", gallery::page());
  for (const gallery::Bug& bug : gallery::bugs())
    write_file(fmt::format("{}/gallery/{}.svg", folder, bug.name), gallery::to_svg(bug));
}

}  // namespace

int show_gallery(const GalleryOptions& o) {
  if (!o.write.empty()) write_page(o.write);
  else if (o.bug.empty()) list_all();
  else write_out(gallery::to_text(gallery::find(o.bug)));
  return 0;
}

}  // namespace loupe::cli

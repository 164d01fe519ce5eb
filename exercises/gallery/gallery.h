#pragma once
// The bug gallery: published bugs of normalization layers, engines, attention and optimizers, each
// as the smallest variant of right code, with what a user sees of it and the check that catches it.
#include <string>
#include <string_view>
#include <vector>

namespace loupe::gallery {

struct Bug {
  const char* name;  // "layer_norm_without_backward"; also the mark of its code in the source
  const char* title;
  const char* source;  // the project and its number: "candle#2168"
  const char* url;
  const char* story;    // what was wrong
  const char* symptom;  // what a user sees
  const char* mend;
  const char* x_label;
  const char* y_label;
  /// What is plotted, with the right code and with the wrong one: mostly a loss by steps.
  std::vector<double> (*curve)(bool wrong);
  /// What the check says of the right code (nothing) and of the wrong one.
  const char* check_name;
  std::string (*check)(bool wrong);
  /// The bug does not show in the curve: that is the point.
  bool same_curve = false;
};

/// All of them: norms, engine, attention, optimizers.
const std::vector<Bug>& bugs();
/// The bug of this name. ValueError names those that there are.
const Bug& find(const std::string& name);

/// What one prints of a bug: its curves as a table, and what the check says.
std::string to_text(const Bug& bug);
/// The two curves as an SVG picture.
std::string to_svg(const Bug& bug);
/// The page docs/gallery.md, whose pictures are gallery/NAME.svg beside it.
std::string page();

/// The text of a source of the gallery, by its path.
std::string_view embedded(std::string_view file);

// The four rooms.
const std::vector<Bug>& norm_bugs();
const std::vector<Bug>& engine_bugs();
const std::vector<Bug>& attention_bugs();
const std::vector<Bug>& optimizer_bugs();

}  // namespace loupe::gallery

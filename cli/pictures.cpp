// `loupe pictures`: what a trained model looks like inside.
#include <loupe/cli/commands.h>
#include <loupe/cli/image_model.h>
#include <loupe/cli/text_model.h>
#include <loupe/cli/training.h>
#include <loupe/io/checkpoint.h>

#include <loupe/autograd/ops.h>
#include <loupe/core/threads.h>
#include <loupe/io/png.h>
#include <loupe/io/tensorboard.h>
#include <loupe/layers/conv.h>
#include <loupe/layers/state.h>
#include <loupe/view/depth.h>
#include <loupe/view/page.h>
#include <loupe/view/pictures.h>
#include <loupe/view/words.h>

#include <algorithm>
#include <filesystem>

namespace loupe::cli {
namespace {

constexpr int64_t kLikedOf = 4000;    // test images that are looked through
constexpr int64_t kChannels = 16;     // input channels of a filter that are shown
constexpr int64_t kUnits = 16;        // units of a layer that are shown
constexpr int64_t kImagesAUnit = 12;  // images of each
constexpr int64_t kDepthBatch = 64;   // samples behind the histograms

// The folder of pictures, its page, and TensorBoard's copy.
class Album : Pinned {
 public:
  explicit Album(const PicturesOptions& o) : folder_(o.out.empty() ? o.run + "/pictures" : o.out) {
    std::filesystem::create_directories(folder_);
    if (!o.logdir.empty()) board_.emplace(o.logdir);
  }

  void section(const std::string& title, const std::string& text) {
    body_ += fmt::format("<section class=\"keep\"><h2>{}</h2><p>{}</p>", view::escape(title),
                         view::escape(text));
  }
  void end_section() { body_ += "</section>\n"; }

  void picture(const std::string& name, const std::string& caption, const Tensor& pixels) {
    write_png(folder_ + "/" + name + ".png", pixels);
    show(name + ".png", caption, pixels.size(1));
    if (board_) board_->image("pictures/" + name, pixels, 0);
  }

  void depth(const std::vector<LayerValues>& layers, const std::string& title) {
    view::write_text(folder_ + "/depth.svg", depth_svg(layers, title), "pictures");
    show("depth.svg", "", 0);
    if (!board_) return;
    for (const LayerValues& l : layers) {
      board_->histogram("outputs/" + l.path, l.output, 0);
      if (l.gradient.defined()) board_->histogram("gradients/" + l.path, l.gradient, 0);
    }
  }

  /// The page; its path.
  std::string finish(const std::string& title) {
    const std::string path = folder_ + "/index.html";
    view::write_text(path,
                     view::to_html(view::Page{.title = title,
                                              .style = "main{max-width:1100px}img{max-width:100%;"
                                                       "image-rendering:pixelated}",
                                              .body = body_}),
                     "pictures");
    return path;
  }

 private:
  void show(const std::string& file, const std::string& caption, int64_t width) {
    body_ +=
        fmt::format("<figure>{}<img src=\"{}\" alt=\"{}\"{}></figure>",
                    caption.empty() ? "" : "<figcaption>" + view::escape(caption) + "</figcaption>",
                    view::escape(file), view::escape(caption.empty() ? file : caption),
                    width > 0 ? fmt::format(" width=\"{}\"", width) : "");
  }

  std::string folder_, body_;
  std::optional<EventWriter> board_;
};

std::vector<std::pair<std::string, Conv2d*>> convolutions(Module& model) {
  std::vector<std::pair<std::string, Conv2d*>> found;
  for (const auto& [path, module] : named_modules(model))
    if (auto* conv = dynamic_cast<Conv2d*>(module)) found.emplace_back(path, conv);
  return found;
}

void filters(Album& album, Module& model) {
  album.section(
      "Filters",
      fmt::format("A row of squares is a filter, a square its part for one input channel: "
                  "the first {} filters and channels. White is 0, orange above, blue "
                  "below. Filters of one input channel stand alone and all; those of "
                  "three are drawn in colours.",
                  kUnits));
  for (const auto& [path, conv] : convolutions(model)) {
    const Tensor w = conv->weight;
    const int64_t out = w.size(0), in = w.size(1);
    const bool all = in <= 3;
    const Tensor shown =
        all ? w
            : w.detach().slice(0, 0, std::min(out, kUnits)).slice(1, 0, std::min(in, kChannels));
    album.picture("filters-" + path,
                  fmt::format("{}: {} filters of {} x {} on {} channel{}", path, out, w.size(2),
                              w.size(3), in, in == 1 ? "" : "s"),
                  picture_of_filters(shown, {.zoom = all ? 12 : 8}));
  }
  album.end_section();
}

void liked(Album& album, Module& model, const ImageSet& set) {
  const int64_t n = std::min(kLikedOf, set.size());
  album.section(
      "What a unit likes",
      fmt::format("A row is a channel of a convolution: the {} of {} test images to which "
                  "it answers most. The first {} channels.",
                  kImagesAUnit, n, kUnits));
  std::vector<int64_t> all(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) all[static_cast<size_t>(i)] = i;
  const Tensor x = ImageDataset(set).batch(all).x;
  for (const auto& [path, conv] : convolutions(model)) {
    const auto by_unit = liked_images(model, path, x, kImagesAUnit);
    std::vector<int64_t> chosen;
    for (size_t unit = 0; unit < by_unit.size() && unit < kUnits; ++unit)
      for (const LikedImage& image : by_unit[unit]) chosen.push_back(image.index);
    album.picture("liked-" + path, path,
                  contact_sheet(set, chosen, kImagesAUnit, static_cast<int64_t>(chosen.size())));
  }
  album.end_section();
}

void depth(Album& album, Module& model, const std::string& what,
           const std::function<Tensor()>& loss) {
  album.section(
      "Activations and gradients over depth",
      "Every layer in the order of its call. Left: the magnitudes of what it gives; right: "
      "of the gradient that comes back to it. A layer whose histogram lies far from its "
      "neighbours' makes signals shrink or grow.");
  album.depth(values_over_depth(model, loss), what);
  zero_grad(model);
  album.end_section();
}

std::string of_cnn(Album& album, const PicturesOptions& o, const Json& options) {
  const std::string dataset = options.get_string("dataset");
  const ImageData data = load_images(dataset, o.data.empty() ? options.get_string("data") : o.data);
  const ImageModel model = load_image_model(options, o.run).model;
  loupe::eval(*model);
  filters(album, *model);
  liked(album, *model, data.test);
  std::vector<int64_t> first;
  for (int64_t i = 0; i < std::min(kDepthBatch, data.test.size()); ++i) first.push_back(i);
  const Batch batch = ImageDataset(data.test).batch(first);
  depth(album, *model, fmt::format("{} test images of {}", batch.size(), dataset),
        [&] { return cross_entropy(model->call(batch.x), batch.y); });
  return fmt::format("{} on {}", model->type_name(), dataset);
}

std::string of_gpt(Album& album, const PicturesOptions& o, const Json& options) {
  CharVocab vocab;
  Gpt model = load_gpt(options, o.run, vocab);
  const TextData data =
      load_text(options.get_bool("default_text") ? "" : options.get_string("text"),
                options.get_number("validation"), vocab);
  const int64_t length = model.config.context;
  if (static_cast<int64_t>(data.held_out.size()) < length + 1)
    fail<ValueError>("pictures: the held-out text has {} characters, and the model sees {}",
                     data.held_out.size(), length);
  const std::vector<int64_t> ids(data.held_out.begin(), data.held_out.begin() + length + 1);
  const Tensor text = from_data(ids);
  const Tensor x = text.slice(0, 0, length).unsqueeze(0), y = text.slice(0, 1, length + 1);
  const std::vector<int32_t> shown(data.held_out.begin(), data.held_out.begin() + length);
  album.section("Attention",
                "The heads of each block on the text below: a row is a character, "
                "dark where it looks, and it sees itself and those before it.");
  for (const AttentionMap& map : attention_maps([&] { model(x); }))
    album.picture("attention-" + map.path, map.path, picture_of_attention(map.weights[0]));
  album.end_section();
  album.section("The text", vocab.decode(shown));
  album.end_section();
  depth(album, model, fmt::format("{} characters", length), [&] {
    return cross_entropy(model(x).reshape({length, model.config.vocab}), y);
  });
  return "Gpt on " + data.file.path;
}

}  // namespace

int pictures(const PicturesOptions& o) {
  Console console(false);
  if (o.threads > 0) set_thread_limit(o.threads);
  const Json options = Json::read_file(o.run + "/options.json");
  const std::string command = options.get_string("command");
  if (command != "train cnn" && command != "train gpt")
    fail<ValueError>("{}: there are no pictures of a run of \"{}\"", o.run, command);
  Album album(o);
  const std::string title =
      command == "train cnn" ? of_cnn(album, o, options) : of_gpt(album, o, options);
  console.say("written to " + album.finish("Pictures of a " + title) + ": open it in a browser");
  return 0;
}

}  // namespace loupe::cli

// What the page's workers call. Every function answers with JSON, {"error": ...} where something
// was thrown; the answer lives until the next call.
#include <loupe/core/cpu.h>
#include <loupe/core/error.h>
#include <loupe/core/raw.h>
#include <loupe/layers/state.h>
#include <loupe/lesson/stats.h>
#include <loupe/view/explain.h>
#include <loupe/view/words.h>
#include <loupe/web/look.h>

#include <emscripten.h>

#include <cmath>
#include <cstdlib>
#include <cstring>

using namespace loupe;

namespace {

live::Data g_data;
std::unique_ptr<live::Run> g_run;
std::vector<Tensor> g_kept;  // whose memory the page reads

std::string json(double x) { return std::isfinite(x) ? fmt::format("{:.9g}", x) : "null"; }
std::string json(float x) { return std::isfinite(x) ? fmt::format("{:.5g}", x) : "null"; }
template <class T> std::string json(const std::vector<T>& all) {
  std::string out;
  for (const T& x : all) out += (out.empty() ? "" : ",") + json(x);
  return "[" + out + "]";
}

// The answer of a function, or the error that it threw.
template <class F> const char* answer(const F& f) {
  static std::string text;
  try {
    text = f();
  } catch (const std::exception& error) {
    text = "{\"error\":" + view::json_string(error.what()) + "}";
  }
  return text.c_str();
}

live::Run& run() {
  if (!g_run) fail<ValueError>("live: no run was started");
  return *g_run;
}

Tensor bytes(const uint8_t* from, const Shape& shape) {
  const Tensor t = empty(shape, DType::u8);
  std::memcpy(t.ptr<uint8_t>(), from, static_cast<size_t>(t.numel()));
  return t;
}

std::string layers_json() {
  std::string out;
  for (const live::LayerLook& l : live::look_at_layers(run()))
    out += fmt::format("{}{{\"path\":{},\"out\":{},\"gradient\":{},\"weight\":{}}}",
                       out.empty() ? "" : ",", view::json_string(l.path), json(l.output_std),
                       json(l.gradient_rms), json(l.weight_rms));
  return "[" + out + "]";
}

std::string statistics_json() {
  std::string out;
  for (const live::StatisticsLook& s : live::look_at_statistics(run()))
    out +=
        fmt::format("{}{{\"path\":{},\"runningMean\":{},\"runningVar\":{},\"mean\":{},\"var\":{}}}",
                    out.empty() ? "" : ",", view::json_string(s.path), json(s.running_mean),
                    json(s.running_var), json(s.batch_mean), json(s.batch_var));
  return "[" + out + "]";
}

}  // namespace

extern "C" {

/// n images of 28 x 28 bytes, then n labels: to train on or to test.
EMSCRIPTEN_KEEPALIVE const char* live_images(const uint8_t* from, int n, bool training) {
  return answer([&] {
    const Tensor images = bytes(from, {n, 1, 28, 28});
    const Tensor labels = bytes(from + size_t{784} * static_cast<size_t>(n), {n}).to(DType::i64);
    if (training) g_data.set_train(images, labels);
    else g_data.set_test(images, labels);
    return std::string("{}");
  });
}

EMSCRIPTEN_KEEPALIVE const char* live_words(const char* text) {
  return answer([&] {
    g_data.words = text;
    return std::string("{}");
  });
}

/// "reference" or "baseline".
EMSCRIPTEN_KEEPALIVE const char* live_level(const char* level) {
  return answer([&] {
    set_cpu_level(std::strcmp(level, "reference") == 0 ? CpuLevel::reference : CpuLevel::baseline);
    return std::string("{}");
  });
}

EMSCRIPTEN_KEEPALIVE const char* live_start(const char* settings) {
  return answer([&] {
    g_run = nullptr;
    g_run = std::make_unique<live::Run>(live::Settings::from(settings), g_data);
    return fmt::format("{{\"parameters\":{},\"classes\":{},\"samples\":{}}}",
                       parameter_count(g_run->model()), g_run->task().classes,
                       g_run->task().x.size(0));
  });
}

/// Trains n steps, or up to a loss that is not finite; the losses of those.
EMSCRIPTEN_KEEPALIVE const char* live_steps(int n) {
  return answer([&] {
    std::vector<double> losses;
    for (int i = 0; i < n; ++i) {
      losses.push_back(run().step());
      if (!std::isfinite(losses.back())) break;
    }
    return fmt::format("{{\"steps\":{},\"losses\":{},\"dead\":{}}}", run().steps(), json(losses),
                       run().dead());
  });
}

EMSCRIPTEN_KEEPALIVE const char* live_change(const char* name, const char* value) {
  return answer([&] {
    run().change(name, value);
    return std::string("{}");
  });
}

EMSCRIPTEN_KEEPALIVE const char* live_layers() { return answer(layers_json); }
EMSCRIPTEN_KEEPALIVE const char* live_statistics() { return answer(statistics_json); }
EMSCRIPTEN_KEEPALIVE const char* live_score(bool training, int batch, int samples) {
  return answer([&] {
    const live::Score s = live::score(run(), {.training = training, .batch = batch}, samples);
    return fmt::format("{{\"loss\":{},\"accuracy\":{}}}", json(s.loss), json(s.accuracy));
  });
}
EMSCRIPTEN_KEEPALIVE const char* live_map(int size, bool training) {
  return answer([&] { return json(live::probability_map(run(), size, training)); });
}
/// The spirals' samples: x, y, arm, x, y, arm, ...
EMSCRIPTEN_KEEPALIVE const char* live_points() {
  return answer([&] {
    const live::Task& t = run().task();
    const std::vector<float> x = t.x.to_vector<float>(), y = t.y.to_vector<float>();
    std::vector<float> all;
    for (size_t i = 0; i < y.size(); ++i) all.insert(all.end(), {x[2 * i], x[2 * i + 1], y[i]});
    return json(all);
  });
}
EMSCRIPTEN_KEEPALIVE const char* live_matrix() {
  return answer([&] {
    const live::MatrixLook m = live::batch_matrix(run());
    return fmt::format("{{\"rows\":{},\"columns\":{},\"values\":{}}}", m.rows, m.columns,
                       json(m.values));
  });
}
EMSCRIPTEN_KEEPALIVE const char* live_filters() {
  return answer([&] { return json(live::first_filters(run())); });
}

/// The model's parameters and buffers: name, shape, type, and where they lie.
EMSCRIPTEN_KEEPALIVE const char* live_state() {
  return answer([&] {
    g_kept.clear();
    std::string out;
    for (const Named& n : state_dict(run().model())) {
      g_kept.push_back(raw::row_major(n.tensor));
      const Tensor& t = g_kept.back();
      const size_t size = static_cast<size_t>(t.numel()) * size_of(t.dtype());
      out += fmt::format("{}{{\"name\":{},\"shape\":{},\"type\":\"{}\",\"at\":{},\"bytes\":{}}}",
                         out.empty() ? "" : ",", view::json_string(n.name),
                         view::json_string(to_string(t.shape())),
                         t.dtype() == DType::i64 ? "I64" : "F32",
                         reinterpret_cast<uintptr_t>(t.storage()->data()) +
                             static_cast<size_t>(t.offset()) * size_of(t.dtype()),
                         size);
    }
    return "[" + out + "]";
  });
}

/// Copies so many f32 values into one of the model's tensors.
EMSCRIPTEN_KEEPALIVE const char* live_put(const char* name, const float* values, int count) {
  return answer([&] {
    NoGrad guard;
    for (const Named& n : state_dict(run().model())) {
      if (n.name != name) continue;
      if (n.tensor.numel() != count)
        fail<ShapeError>("open: {} has {} values, the file {}", name, n.tensor.numel(), count);
      const Tensor from = empty(n.tensor.shape());
      std::memcpy(from.ptr<float>(), values, static_cast<size_t>(count) * sizeof(float));
      n.tensor.copy_(from);
      return std::string("{}");
    }
    fail<ValueError>("open: the network has no {}", name);
  });
}

/// A normalisation of a matrix by numbers, following one element: a whole HTML page.
EMSCRIPTEN_KEEPALIVE const char* live_explain(const char* layer, int row, int column,
                                              const double* values, int rows, int columns) {
  return answer([&] {
    const Tensor input =
        from_data(std::vector<double>(values, values + rows * columns), Shape{rows, columns});
    const Document document = explain(layer, {.input = input, .row = row, .column = column});
    return "{\"html\":" + view::json_string(document.to_html()) + "}";
  });
}

/// Student's 95 % interval of the mean of n values.
EMSCRIPTEN_KEEPALIVE const char* live_interval(const double* values, int n) {
  return answer([&] {
    const lesson::Interval i = lesson::t_interval({values, static_cast<size_t>(n)});
    return fmt::format("{{\"mean\":{},\"lo\":{},\"hi\":{}}}", json(i.mean), json(i.lo), json(i.hi));
  });
}

}  // extern "C"

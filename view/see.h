#pragma once
// One page for a step: its graph as boxes of modules that fold, with time, memory, shapes and
// source lines, forward and backward, and a timeline below. A self-contained HTML file: no server,
// no request.
//
//   see("step.html", net, [&] {
//     const Tensor loss = cross_entropy(net(x), y);
//     loss.backward();
//   });
#include <loupe/layers/module.h>

#include <functional>
#include <string>

namespace loupe {

struct SeeOptions {
  std::string title = "";  // empty: the model's type
  /// Compute every op once more in f64 (autograd/shadow.h) and show the error of each. Slow.
  bool shadow = false;
  /// Stop at the first NaN or Inf.
  bool anomaly = true;
};

/// Runs `step` once on this thread, and writes the page of what ran to `path`. The step is measured
/// as it runs: call it once before, so that caches and memory are warm. Parameters have `model`'s
/// names.
///
/// If the step throws, the page is written all the same: the graph so far, with the op that failed
/// in red and the error's text. The errors of core/error.h are thrown again with their type, and
/// their text ends with the page's path; any other exception goes on unchanged. IoError if the page
/// cannot be written.
void see(const std::string& path, Module& model, const std::function<void()>& step,
         const SeeOptions& options = {});

}  // namespace loupe

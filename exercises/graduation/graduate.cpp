// Graduation: the lesson's claims, and three trainings, with the student's norms beside the
// library's.
//   graduate STUDENT.so lesson PROFILE FOLDER CLAIM...     FOLDER "": the package's Fashion-MNIST
//   graduate STUDENT.so train STEPS
//   graduate NORM.so own PROFILE FOLDER OUT CLAIM...       with the file's norm as a third arm of all
//                                                          claims, or of those; OUT "": no page
//   graduate STUDENT.so cnn STEPS FOLDER           the README's training; STEPS 0: all ten epochs
//   graduate STUDENT.so gpt STEPS TEXT             STEPS 0: all 2000
// exercises/graduate compiles the student's files and starts it.
#include <loupe/autograd/ops.h>
#include <loupe/exercises/graduation/readme.h>
#include <loupe/lesson/lesson.h>
#include <loupe/optim/optimizer.h>

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <stdexcept>

using namespace loupe;

namespace {

lesson::Norms load(const char* path) {
  void* const object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  const auto make =
      object ? reinterpret_cast<void (*)(lesson::Norms*)>(dlsym(object, "loupe_student_norms"))
             : nullptr;
  if (!make) throw std::runtime_error(dlerror());
  lesson::Norms norms;
  make(&norms);
  return norms;
}

// The norm that LOUPE_OWN_NORM (lesson/own.h) names.
lesson::Norm load_own(const char* path) {
  void* const object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!object) throw std::runtime_error(dlerror());
  const auto make = reinterpret_cast<void (*)(lesson::Norm*)>(dlsym(object, "loupe_own_norm"));
  if (!make) throw std::runtime_error("the file has no line LOUPE_OWN_NORM(make)");
  lesson::Norm own;
  make(&own);
  return own;
}

lesson::Report run(const std::string& profile, const std::string& data,
                   const std::vector<std::string>& claims, const lesson::Norms& norms) {
  return lesson::run_lesson({.profile = profile, .claims = claims, .data = data, .norms = norms});
}

// The verdicts with both norms, and for each that changed both effects and what is compared.
int measure(const std::string& profile, const std::string& data,
            const std::vector<std::string>& claims, const lesson::Norms& student) {
  std::printf("the lesson with the library's norms ...\n");
  std::fflush(stdout);
  const lesson::Report ours = run(profile, data, claims, {});
  std::printf("the lesson with yours ...\n\n");
  std::fflush(stdout);
  const lesson::Report yours = run(profile, data, claims, student);
  int changed = 0;
  for (size_t c = 0; c < ours.claims.size(); ++c)
    for (size_t i = 0; i < ours.claims[c].lines.size(); ++i) {
      const lesson::Line &a = ours.claims[c].lines[i], &b = yours.claims[c].lines[i];
      const bool exact = a.kind == lesson::Kind::exact, differs = a.verdict != b.verdict;
      std::printf("%-6s %-13s %-13s %s%s\n", a.id.c_str(), name(a.verdict), name(b.verdict),
                  a.text.c_str(), exact ? "  (exact)" : "");
      if (!differs) continue;
      changed += exact;
      std::printf("       CHANGED: %s with the library's, %s with yours%s\n",
                  lesson::effect_text(a).c_str(), lesson::effect_text(b).c_str(),
                  exact ? ". An exact line does not change by chance: your norm breaks this rule."
                        : ". With few seeds this can be chance: run it again in the full profile.");
    }
  std::printf("\n%d exact verdicts changed.%s\n", changed,
              changed ? "" : " Your norms are those of the lesson.");
  return changed ? 1 : 0;
}

int beside_the_two(const char* path, const std::string& profile, const std::string& data,
                   const std::string& out, const std::vector<std::string>& claims) {
  const lesson::Report report = lesson::run_lesson({.profile = profile,
                                                    .claims = claims,
                                                    .data = data,
                                                    .out = out,
                                                    .overwrite = true,
                                                    .command = "exercises/graduate --norm",
                                                    .norms = {.own = load_own(path)}});
  std::printf("%s", lesson::to_terminal(report, true).c_str());
  if (!out.empty()) std::printf("Report: %s/report.html\n", out.c_str());
  return 0;
}

// Images of one of 10 stripes in noise: no file is needed.
std::pair<Tensor, Tensor> striped(Rng& rng) {
  NoGrad off;
  const Tensor x = randn(rng, {32, 1, 28, 28}), y = randint(rng, 0, 10, {32});
  for (int64_t i = 0; i < 32; ++i) {
    const int64_t row = 2 * y[i].item<int64_t>() + 4;
    x[i].slice(1, row, row + 2).add_(scalar(1.5));
  }
  return {x, y};
}

// Symbols of which each is the sum of the two before, modulo 7.
Tensor sums(Rng& rng) {
  const Tensor x = randint(rng, 0, 7, {16, 17});
  for (int64_t t = 2; t < 17; ++t)
    x.select(1, t).copy_(remainder(x.select(1, t - 1) + x.select(1, t - 2), 7));
  return x;
}

using Loss = std::function<Tensor()>;

std::vector<double> descend(Module& model, const Loss& loss, int64_t steps) {
  AdamW optimizer(model, {.lr = 3e-3});
  std::vector<double> losses;
  for (int64_t step = 0; step < steps; ++step) {
    const Tensor now = loss();
    losses.push_back(now.item());
    optimizer.zero_grad();
    now.backward();
    optimizer.step();
  }
  return losses;
}

std::vector<double> train_cnn(const lesson::Norm& norm, int64_t steps) {
  Rng rng(1);
  lesson::Classifier net(rng, "F1", norm);
  return descend(
      net,
      [&] {
        const auto [x, y] = striped(rng);
        return cross_entropy(net(x), y);
      },
      steps);
}

std::vector<double> train_gpt(const lesson::Norm& norm, int64_t steps) {
  Rng rng(1);
  lesson::Transformer net(
      rng, {.layers = 2, .width = 32, .context = 16, .symbols = 7, .outputs = 7}, norm);
  return descend(
      net,
      [&] {
        const Tensor text = sums(rng);
        return cross_entropy(net(text.slice(1, 0, 16)).reshape({-1, 7}),
                             text.slice(1, 1).reshape({-1}));
      },
      steps);
}

int train_all(int64_t steps, const lesson::Norms& student) {
  struct Training {
    const char* name;
    std::vector<double> (*run)(const lesson::Norm& norm, int64_t steps);
    lesson::Norm lesson::Norms::*norm;
  };
  double worst = 0;
  for (const auto& [name, run, norm] :
       {Training{"CNN (BatchNorm)", train_cnn, &lesson::Norms::batch},
        {"CNN (LayerNorm)", train_cnn, &lesson::Norms::layer},
        {"GPT (LayerNorm)", train_gpt, &lesson::Norms::layer}}) {
    const std::vector<double> ours = run(lesson::Norms{}.*norm, steps),
                              yours = run(student.*norm, steps);
    std::printf("%s\n  step   library's   yours\n", name);
    for (size_t i = 0; i < ours.size(); i += std::max<size_t>(1, ours.size() / 8))
      std::printf("  %4zu   %9.4f   %.4f\n", i, ours[i], yours[i]);
    std::printf("  %4zu   %9.4f   %.4f\n", ours.size() - 1, ours.back(), yours.back());
    // Rounding grows along a training: only the first steps are compared.
    for (size_t i = 0; i < std::min<size_t>(5, ours.size()); ++i) {
      const double off = std::abs(ours[i] - yours[i]) / ours[i];
      if (off > worst || std::isnan(off)) worst = off;  // a NaN stays
    }
  }
  const bool same = worst < 1e-3;
  std::printf("The first five losses differ by up to %.1e of their size: %s.\n", worst,
              same ? "rounding" : "your norms are not the library's");
  return same ? 0 : 1;
}

// The README's training with the library's norms and with the student's.
int as_readme(bool cnn, int64_t steps, const std::string& data, const lesson::Norms& student) {
  const auto run = [&](const lesson::Norms& norms) {
    return cnn ? exercises::readme_cnn(norms.batch, steps, data)
               : exercises::readme_gpt(norms.layer, steps, data);
  };
  const exercises::ReadmeRun ours = run({}), yours = run(student);
  std::printf("first loss   %.4f with the library's norms, %.4f with yours\n", ours.losses.front(),
              yours.losses.front());
  std::printf("last loss    %.4f with the library's norms, %.4f with yours (step %zu)\n",
              ours.losses.back(), yours.losses.back(), ours.losses.size());
  std::printf(cnn ? "test accuracy %.2f %% and %.2f %%; the README's: 93.43 %%\n"
                  : "validation loss %.3f and %.3f; the README's: 1.797\n",
              cnn ? 100 * ours.figure : ours.figure, cnn ? 100 * yours.figure : yours.figure);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc < 4) throw std::runtime_error("graduate STUDENT.so lesson|train ...");
    if (argc > 5 && std::string(argv[2]) == "own")
      return beside_the_two(argv[1], argv[3], argv[4], argv[5], {argv + 6, argv + argc});
    const lesson::Norms student = load(argv[1]);
    if (std::string(argv[2]) == "train") return train_all(std::atoll(argv[3]), student);
    const std::string what = argv[2];
    if (argc == 5 && (what == "cnn" || what == "gpt"))
      return as_readme(what == "cnn", std::atoll(argv[3]), argv[4], student);
    return measure(argv[3], argv[4], {argv + 5, argv + argc}, student);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "graduate: %s\n", error.what());
    return 2;
  }
}

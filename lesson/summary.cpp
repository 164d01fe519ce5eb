// "When to use which" and the interview questions, answered from the verdicts and numbers of one
// run: every sentence with a conclusion in it is chosen by a verdict, every number is this run's.
#include <loupe/lesson/lesson.h>

namespace loupe::lesson {
namespace {

class Findings {
 public:
  explicit Findings(const std::vector<ClaimResult>& claims) : claims_(claims) {}

  const Line* find(const std::string& id) const {
    for (const auto& c : claims_)
      for (const auto& l : c.lines)
        if (l.id == id) return &l;
    return nullptr;
  }
  /// "+26.3 [+21.9, +30.7] points", "exactly 0 logits"; "not measured in this run".
  std::string number(const std::string& id) const {
    const Line* l = find(id);
    if (!l) return "not measured in this run";
    if (l->kind == Kind::statistical) return effect_text(*l);
    return (l->effect.mean == 0 ? "exactly 0" : short_number(l->effect.mean)) +
           (l->unit.empty() ? "" : " " + l->unit);
  }
  /// The number and the word.
  std::string found(const std::string& id) const {
    const Line* l = find(id);
    return l ? fmt::format("{}, {}", number(id), name(l->verdict)) : number(id);
  }
  /// A sentence by the verdict on `id`.
  std::string by(const std::string& id, const char* reproduced, const char* no_difference,
                 const char* contradicted, const char* open) const {
    const Line* l = find(id);
    return l ? by_verdict(*l, reproduced, no_difference, contradicted, open) : std::string(open);
  }
  bool holds(const std::string& id) const { return by(id, "y", "", "", "") == "y"; }
  Verdict together(const std::vector<std::string>& ids) const {
    std::vector<Verdict> parts;
    for (const auto& id : ids)
      if (const Line* l = find(id)) parts.push_back(l->verdict);
    return combine(parts);
  }

 private:
  const std::vector<ClaimResult>& claims_;
};

Advice row(const Findings& f, const char* topic, const char* batch, const char* layer,
           std::string measured, const std::vector<std::string>& ids) {
  std::string from;
  for (const auto& id : ids) from += (from.empty() ? "" : ", ") + id;
  return {topic, batch, layer, std::move(measured), f.together(ids), from};
}

// The largest group of F1 at which LayerNorm was ahead; 0: none.
int64_t crossover(const std::vector<ClaimResult>& claims) {
  const std::string before = "LayerNorm minus BatchNorm, groups of ";
  int64_t largest = 0;
  for (const auto& c : claims)
    for (const auto& l : c.lines)
      if (c.id == "C11" && l.text.starts_with(before) && l.verdict == Verdict::reproduced)
        largest = std::max<int64_t>(largest, std::atoll(l.text.c_str() + before.size()));
  return largest;
}

}  // namespace

std::vector<Advice> when_to_use(const std::vector<ClaimResult>& claims) {
  const Findings f(claims);
  const auto n = [&](const char* id) { return f.number(id); };
  return {
      row(f, "Normalised over", "the batch, per feature", "the features, per sample",
          "Both formulas hold to rounding and epsilon (" + n("C7f") + "; " + n("C10f") +
              "). Behind LayerNorm a token's |mean| is at most " + n("C10a") +
              "; behind BatchNorm the tokens' deviation spreads by " + n("C10b") + ".",
          {"C7f", "C10f", "C10a", "C10b", "C10c"}),
      row(f, "Needs a batch", "yes", "no",
          "Other batch-mates move a sample's logits by " + n("C5f") +
              " with BatchNorm in training and by " + n("C5e") +
              " with LayerNorm. From groups of 64 to groups of 2 "
              "BatchNorm loses " +
              n("C5a") + " with a normalised hidden layer, " + n("C5c") + " in convolutions alone.",
          {"C5a", "C5c", "C5d", "C5e", "C5f", "C5g"}),
      row(f, "Use case: CNN", "CNNs", "",
          "BatchNorm minus no norm: " + n("C6a") +
              " in the shallow CNN. BatchNorm minus LayerNorm: " + n("C6b") +
              " in the shallow one, " + n("C6d") + " in the deep one.",
          {"C6a", "C6b", "C6d"}),
      row(f, "Use case: Transformer", "", "Transformers, NLP",
          "LayerNorm minus no norm: " + n("C8a") + "; minus no norm with scaled initialisation: " +
              n("C8b") + "; minus BatchNorm over 512 tokens: " + n("C8c") +
              "; over 16 tokens: " + n("C8d") + ".",
          {"C8a", "C8b", "C8c", "C8d"}),
      row(f, "Stability", "less stable with small batches", "stable",
          "Groups of 2, LayerNorm minus BatchNorm: " + n("C11a") +
              ". One window of text a batch, eval mode, BatchNorm minus LayerNorm: " + n("C9b1") +
              ". Largest usable rate in a "
              "deep plain network, over no norm: BatchNorm " +
              n("C1b1") + ", LayerNorm " + n("C1b2") + ".",
          {"C11a", "C9b1", "C1b2"}),
  };
}

std::vector<std::string> decisions(const std::vector<ClaimResult>& claims) {
  const Findings f(claims);
  std::vector<std::string> d;
  const auto add = [&](const char* id, std::string text) {
    if (f.find(id) && !text.empty()) d.push_back(std::move(text));
  };
  add("C6a",
      "A CNN whose statistics average many values: " +
          (f.holds("C6a")
               ? std::string("BatchNorm; against no norm ") + f.number("C6a") +
                     f.by("C6b", ", and better than LayerNorm", ", though LayerNorm is as good",
                          ", though LayerNorm is better", ", though LayerNorm may be as good") +
                     " (C6)."
               : "this run does not settle that BatchNorm pays (C6a: " + f.found("C6a") + ")."));
  if (const int64_t g = crossover(claims))
    d.push_back(
        fmt::format("A norm that averages {} values or fewer a channel (after a hidden layer at "
                    "groups of {}): LayerNorm (C11).",
                    g, g));
  else if (f.find("C11a"))
    d.push_back("At no group size was LayerNorm clearly ahead in the CNN (C11).");
  add("C5c", f.by("C5c", "Convolutions alone lose from tiny groups too: ",
                  "Convolutions alone do not care about the batch size: ",
                  "Convolutions alone gain from tiny groups: ",
                  "Whether convolutions alone suffer from tiny groups is not decided: ") +
                 f.number("C5c") + " from groups of 64 to groups of 2 (C5c).");
  add("C8a", "A deep Transformer: " +
                 f.by("C8a", "LayerNorm rather than no norm", "LayerNorm changes nothing",
                      "no norm rather than LayerNorm", "LayerNorm or no norm, undecided") +
                 f.by("C8b", ", and it is worth it even against scaled initialisation",
                      "; scaled initialisation does as well",
                      "; with residual branches that start small no norm does better",
                      "; against scaled initialisation it is not decided") +
                 " (C8a, C8b).");
  add("C9a1",
      "A causal model: " +
          f.by("C9a1",
               "never BatchNorm over the sequence: in training it sees what it should predict",
               "BatchNorm leaks too little to matter", "BatchNorm does worse than chance",
               "BatchNorm's leak is not decided") +
          "; LayerNorm's gradient by later tokens is " + f.number("C9a5") + " (C9a).");
  add("C9b1",
      f.by("C9b1", "Few tokens a statistic: LayerNorm; BatchNorm's loss in eval mode is higher by ",
           "Few tokens a statistic: no difference in eval mode: ",
           "Few tokens a statistic: BatchNorm is better in eval mode: ",
           "Few tokens a statistic: not decided in eval mode: ") +
          f.number("C9b1") + " (C9b1).");
  add("C1b1", f.by("C1b1", "Large learning rates in a deep plain network: BatchNorm",
                   "Large learning rates: no norm helps", "Large learning rates: no norm is better",
                   "Large learning rates: not decided for BatchNorm") +
                  f.by("C1b2", "; LayerNorm too", "; LayerNorm does not help", "; LayerNorm hurts",
                       "; not decided for LayerNorm") +
                  " (C1b1, C1b2).");
  add("C7a", f.by("C7a",
                  "At inference: BatchNorm in eval mode. With batch statistics of 2 images the "
                  "accuracy falls by ",
                  "At inference the statistics do not matter: ",
                  "At inference batch statistics are better: ", "At inference: not decided: ") +
                 f.number("C7a") + " (C7a).");
  return d;
}

std::vector<Answer> interview(const std::vector<ClaimResult>& claims) {
  const Findings f(claims);
  const auto n = [&](const char* id) { return f.number(id); };
  return {
      {"What is the difference between BatchNorm and LayerNorm?",
       "What they average over. BatchNorm: each feature over the batch; BatchNorm1d(128) equals (x "
       "- mean_batch) / std_batch "
       "to " +
           n("C7f") +
           ". LayerNorm: each sample over its features; LayerNorm(128) equals (x - mean_features) "
           "/ std_features to " +
           n("C10f") +
           ". So a sample's BatchNorm output "
           "depends on its batch-mates in training (" +
           n("C5f") + "), its LayerNorm output does not (" + n("C5e") + ")."},
      {"Why do Transformers use LayerNorm and not BatchNorm?",
       f.by("C8c", "Over 512 tokens a statistic LayerNorm trains better (",
            "Not because BatchNorm cannot train them: over 512 tokens a statistic they are equal (",
            "Not because BatchNorm cannot train them: over 512 tokens a statistic it was better (",
            "Not for its loss alone: over 512 tokens a statistic the difference is not decided (") +
           n("C8c") + "). " +
           f.by("C9a1",
                "But its statistics mix tokens. In a causal model that leaks the future: on random "
                "bits, batch of 1, it gets "
                "below what is possible by ",
                "Its statistics mix tokens, though the leak is too small to use: ",
                "Its statistics mix tokens: ",
                "Its statistics mix tokens; whether the leak can be used is not decided: ") +
           n("C9a1") + ". " +
           f.by("C9b1",
                "And with few tokens a statistic training and inference disagree: in eval mode it "
                "is worse by ",
                "With few tokens a statistic eval mode shows no difference: ",
                "With few tokens a statistic it is even better in eval mode: ",
                "With few tokens a statistic eval mode does not decide: ") +
           n("C9b1") + "."},
      {"What happens to BatchNorm with a small batch?",
       "It depends on how many values a statistic averages. Groups of 64 minus groups of 2: " +
           f.found("C5a") + " with a norm after a hidden layer (2 values), " + f.found("C5c") +
           " where each sample brings 49 values or more. Groups of 64 minus groups of 8: " +
           f.found("C5b") + "."},
      {"Why does BatchNorm behave differently in training and in evaluation?",
       "Training normalises by the batch, evaluation by running averages, so that a sample's "
       "answer does not depend on its "
       "neighbours (" +
           n("C5h") +
           " under other batch-mates). Running averages minus batch statistics of 2 images: " +
           f.found("C7a") + ". In shuffled batches of 250: " + n("C7d") + "."},
      {"Does normalisation work by reducing internal covariate shift?",
       f.by("C4a", "BatchNorm does reduce it (", "BatchNorm does not change it (",
            "BatchNorm increases it (", "Whether BatchNorm reduces it is not decided (") +
           n("C4a") + "). " +
           (f.holds("C4e")
                ? f.by("C4d",
                       "A BatchNorm with noise added has more of it than no norm and trains worse, "
                       "so it may be the cause: ",
                       "A BatchNorm with noise added has more of it than no norm and trains alike, "
                       "so it is not the cause: ",
                       "But a BatchNorm with noise added has more of it than no norm and trains "
                       "better, so it is not the cause: ",
                       "A BatchNorm with noise added has more of it than no norm; whether it "
                       "trains worse is not decided: ") +
                      n("C4d") + " final loss. "
                : "The noise that was to test the explanation did not clearly raise the shift. ") +
           f.by("C4f", "What BatchNorm does: the gradient changes less along its own direction (",
                "The gradient changes as much along its own direction (",
                "The gradient changes more along its own direction (",
                "Whether the gradient changes less along its own direction is not decided (") +
           n("C4f") + ")."},
      {"Does normalisation let you use larger learning rates?",
       "In a plain network of 16 layers, over no norm: BatchNorm " + f.found("C1b1") +
           "; LayerNorm " + f.found("C1b2") +
           ". In the Transformer, LayerNorm over scaled initialisation: " + f.found("C8e") + "."},
      {"Does it speed training up?",
       "Steps to the threshold in a plain CNN, no norm over BatchNorm: " + f.found("C2a") +
           "; over LayerNorm: " + f.found("C2b") + "."},
      {"Does it make the final result better?",
       "BatchNorm minus no norm: " + f.found("C3c") + " in a shallow CNN, " + f.found("C3e") +
           " in a deep plain one. LayerNorm minus no norm: " + f.found("C3d") + " and " +
           f.found("C3b") + "."},
      {"Do Transformers process each token independently?",
       "Gradient by other tokens through LayerNorm " + n("C12a") +
           ", through the feed-forward layer " + n("C12b") + ", through attention " + n("C12c") +
           ", through the model " + n("C12d") + ". " +
           f.by("C12d", "So they do.", "So they do.",
                "So the model does not: attention mixes tokens.", "")},
  };
}

}  // namespace loupe::lesson

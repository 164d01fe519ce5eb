// "When to use which" and the interview questions, answered from the verdicts and numbers of one run.
#include <loupe/lesson/lesson.h>

namespace loupe::lesson {
namespace {

const Line* find(const std::vector<ClaimResult>& claims, const std::string& id) {
  for (const auto& c : claims)
    for (const auto& l : c.lines)
      if (l.id == id) return &l;
  return nullptr;
}

// "REPRODUCED, +26.3 [+21.9, +30.7] points"; "not measured in this run".
std::string found(const std::vector<ClaimResult>& claims, const std::string& id) {
  const Line* l = find(claims, id);
  return l ? fmt::format("{} ({})", effect_text(*l), name(l->verdict)) : "not measured in this run";
}

}  // namespace

std::vector<Advice> when_to_use(const std::vector<ClaimResult>& claims) {
  const auto f = [&](const char* id) { return found(claims, id); };
  return {
      {"Normalised over", "BatchNorm: the batch, per feature. LayerNorm: the features, per sample.",
       "Largest mean of a token after LayerNorm: " + f("C10a") + "; spread of the tokens' deviation after BatchNorm: " + f("C10b") + ".",
       "C10a, C10b"},
      {"Needs a batch", "BatchNorm: yes. LayerNorm: no.",
       "A sample's LayerNorm output moves by " + f("C5d") + " under other batch-mates. From groups of 64 to groups of 2 BatchNorm "
       "loses " + f("C5a") + " with a normalised hidden layer, " + f("C5c") + " in convolutions alone.", "C5a, C5c, C5d"},
      {"Use case: CNN", "BatchNorm.", "BatchNorm minus LayerNorm in the small CNN: " + f("C6b") + "; minus no norm: " + f("C6a") + ".", "C6a, C6b"},
      {"Use case: Transformer", "LayerNorm.",
       "LayerNorm minus no norm: " + f("C8a") + "; minus scaled initialisation: " + f("C8b") + "; minus BatchNorm over 512 tokens: " + f("C8c") +
       "; BatchNorm minus LayerNorm at batch 1 in eval mode: " + f("C9d") + ".", "C8a, C8b, C8c, C9d"},
      {"Stability", "BatchNorm: less stable with small batches. LayerNorm: stable.",
       "Largest usable rate in a deep plain network, BatchNorm over none: " + f("C1b") + "; LayerNorm over none: " + f("C1c") +
       "; groups of 2, LayerNorm minus BatchNorm: " + f("C11a") + ".", "C1b, C1c, C11a"},
      {"Inference", "BatchNorm: running averages. LayerNorm: the same computation.",
       "Running averages minus batch statistics, test batches of 2: " + f("C7a") + ".", "C7a"},
  };
}

std::vector<Answer> interview(const std::vector<ClaimResult>& claims) {
  const auto f = [&](const char* id) { return found(claims, id); };
  return {
      {"Why do Transformers use LayerNorm and not BatchNorm?",
       "Not because BatchNorm cannot train them: over many tokens the difference was " + f("C8c") + ". Because its statistics mix tokens. In a causal "
       "model that leaks the future (random bits, batch of 1: training loss below ln 2 by " + f("C9a") + "), and with few tokens a "
       "statistic training and inference disagree (" + f("C9d") + ")."},
      {"What happens to BatchNorm with a small batch?",
       "It depends on how many values a statistic averages. Groups of 2 instead of 64: " + f("C5a") + " after a hidden layer, " + f("C5c") +
       " where each sample brings 49 values or more."},
      {"Why does BatchNorm behave differently in training and evaluation?",
       "Training normalises by the batch, evaluation by running averages, so that a sample's answer does not depend on its neighbours. Judged with batch "
       "statistics of 2 images instead, the accuracy changes by " + f("C7a") + " (running minus batch)."},
      {"Does normalisation work by reducing internal covariate shift?",
       "BatchNorm does reduce it: " + f("C4a") + ". But a BatchNorm with noise added has more shift than no norm (" + f("C4b") + ") and its final loss minus that of no norm was " +
       f("C4c") + ". So the reduction is not the cause."},
      {"Does it let you use larger learning rates?",
       "BatchNorm in a deep plain network: " + f("C1b") + ". LayerNorm there: " + f("C1c") + "."},
      {"Do Transformers process each token independently?",
       "Normalisation and feed-forward do: gradient from other tokens " + f("C12a") + " and " + f("C12b") + ". Attention does not, and so the model does not: " + f("C12d") + "."},
      {"Does normalisation speed training up?", "BatchNorm over none, steps to the threshold: " + f("C2a") + "; LayerNorm over none: " + f("C2b") + "."},
  };
}

}  // namespace loupe::lesson

#include <loupe/io/checkpoint.h>
#include <loupe/layers/linear.h>

#include "fuzz.h"

using namespace loupe;

// Whole in form, with any content: the checksum is put right first.
void target(Bytes bytes) {
  static Rng rng(1);
  static Linear model(rng, 2, 3);
  static AdamW optimizer(model, {});
  static OneCycleLR schedule(optimizer, {.total_steps = 100});
  static DataLoader loader(TensorDataset(zeros({5, 2}), zeros({5, 3})), rng,
                           {.batch_size = 2, .prefetch = 0});
  TrainingState state{.model = &model,
                      .optimizer = &optimizer,
                      .schedule = &schedule,
                      .loader = &loader,
                      .streams = {{"data", &rng}},
                      .numbers = {{"step", 1}}};
  const std::string copy(as_text(bytes));
  SafetensorsFile file = load_safetensors(as_bytes(copy), nullptr, "f");
  file.metadata["checksum"] = checkpoint_checksum(file);
  load_checkpoint(file, state, "f");
}

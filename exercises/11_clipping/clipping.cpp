#include "exercise.h"

double mine::clip_grad_norm(std::vector<std::vector<double>>& grads, double max_norm) {
  // >>> your part
  fill_in("clip_grad_norm");
  // <<<
}

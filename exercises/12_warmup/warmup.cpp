#include "exercise.h"

double mine::learning_rate(int64_t step, const Schedule& s) {
  // >>> your part
  fill_in("learning_rate");
  // <<<
}

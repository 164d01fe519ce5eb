// Draws every figure of the guide into the current folder.
#include "figures.h"

int main() {
  guide::draw_tensors();
  guide::draw_reverse_mode();
  guide::draw_optimizers();
  guide::draw_convolution();
  guide::draw_norms();
  guide::draw_attention();
  guide::draw_fast();
  guide::draw_numbers();
}

#include "exercise.h"

std::vector<int64_t> mine::row_major_strides(const std::vector<int64_t>& shape) {
  // >>> your part
  fill_in("row_major_strides");
  // <<<
}

int64_t mine::place(const View& v, const std::vector<int64_t>& index) {
  // >>> your part
  fill_in("place");
  // <<<
}

mine::View mine::transpose(const View& v, size_t a, size_t b) {
  // >>> your part
  fill_in("transpose");
  // <<<
}

mine::View mine::slice(const View& v, size_t axis, int64_t start, int64_t stop, int64_t step) {
  // >>> your part
  fill_in("slice");
  // <<<
}

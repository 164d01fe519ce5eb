#pragma once
// CIFAR-10's binary files: records of one label byte and 3072 pixel bytes (32x32 red, then green,
// then blue).
#include <loupe/io/file.h>

#include <string>
#include <vector>

namespace loupe {

struct Cifar10Batch {
  std::vector<uint8_t> labels;  // (n), each below 10
  std::vector<uint8_t> pixels;  // (n, 3, 32, 32)
};

/// Reads one file such as data_batch_1.bin. IoError on an empty file, a partial record or a label
/// above 9.
Cifar10Batch read_cifar10(const std::string& path);
Cifar10Batch read_cifar10(Bytes bytes, const std::string& name);

}  // namespace loupe

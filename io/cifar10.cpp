#include <loupe/io/cifar10.h>

namespace loupe {

Cifar10Batch read_cifar10(Bytes bytes, const std::string& name) {
  constexpr size_t kPixels = 3 * 32 * 32, kRecord = 1 + kPixels;
  if (bytes.empty())
    fail<IoError>("{}: is empty, expected CIFAR-10 records of {} bytes", name, kRecord);
  if (bytes.size() % kRecord != 0)
    fail<IoError>("{}: offset {}: {} bytes are no whole number of {}-byte CIFAR-10 records", name,
                  bytes.size() / kRecord * kRecord, bytes.size(), kRecord);
  Cifar10Batch batch;
  const size_t n = bytes.size() / kRecord;
  batch.labels.resize(n);
  batch.pixels.resize(n * kPixels);
  for (size_t i = 0; i < n; ++i) {
    const uint8_t* record = bytes.data() + i * kRecord;
    if (record[0] > 9)
      fail<IoError>("{}: offset {}: label {} in a CIFAR-10 file, expected 0 to 9", name,
                    i * kRecord, record[0]);
    batch.labels[i] = record[0];
    std::memcpy(batch.pixels.data() + i * kPixels, record + 1, kPixels);
  }
  return batch;
}

Cifar10Batch read_cifar10(const std::string& path) {
  return read_cifar10(MappedFile(path).bytes(), path);
}

}  // namespace loupe

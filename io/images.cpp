#include <loupe/core/threads.h>
#include <loupe/io/cifar10.h>
#include <loupe/io/idx.h>
#include <loupe/io/images.h>

#include <unistd.h>

#include <algorithm>
#include <exception>

namespace loupe {
namespace {

/// A tensor that keeps the vector's memory.
Tensor adopt(std::vector<uint8_t>&& bytes, const Shape& shape) {
  auto owner = std::make_shared<std::vector<uint8_t>>(std::move(bytes));
  auto storage = std::make_shared<Storage>(owner->data(), owner->size(), owner);
  return Tensor(std::move(storage), shape, row_major_strides(shape), 0, DType::u8);
}

Tensor as_labels(const std::vector<uint8_t>& bytes) {
  return from_data(std::vector<int64_t>(bytes.begin(), bytes.end()));
}

/// The first of `names` that exists in `folder`; IoError with the way to get it.
std::string find_file(const std::string& folder, std::initializer_list<std::string> names,
                      const std::string& remedy) {
  for (const std::string& name : names)
    if (const std::string path = folder + "/" + name; ::access(path.c_str(), R_OK) == 0)
      return path;
  fail<IoError>("{}/{}: not found. {}", folder, *names.begin(), remedy);
}

// A part of a data set from its files: images and labels, or batches of both.
ImageSet read_mnist(std::span<const std::string> files) {
  const std::string &image_path = files[0], &label_path = files[1];
  IdxArray images = read_idx(image_path), labels = read_idx(label_path);
  if (images.type != IdxArray::u8 || images.shape.size() != 3)
    fail<IoError>("{}: expected bytes of rank 3, found type 0x{:02x} of rank {}", image_path,
                  static_cast<int>(images.type), images.shape.size());
  if (images.shape[1] != 28 || images.shape[2] != 28)
    fail<IoError>("{}: images of {} x {}, expected 28 x 28", image_path, images.shape[1],
                  images.shape[2]);
  if (labels.type != IdxArray::u8 || labels.shape.size() != 1)
    fail<IoError>("{}: expected bytes of rank 1, found type 0x{:02x} of rank {}", label_path,
                  static_cast<int>(labels.type), labels.shape.size());
  if (images.shape[0] != labels.shape[0] || labels.data.empty())
    fail<IoError>("{}: {} labels for {} images", label_path, labels.shape[0], images.shape[0]);
  for (size_t i = 0; i < labels.data.size(); ++i)
    if (labels.data[i] > 9)
      fail<IoError>("{}: offset {}: label {}, expected 0 to 9", label_path, 8 + i, labels.data[i]);
  ImageSet set;
  set.labels = as_labels(labels.data);
  set.images = adopt(std::move(images.data), {images.shape[0], 1, 28, 28});
  return set;
}

ImageSet read_cifar(std::span<const std::string> files) {
  Cifar10Batch all;
  for (const std::string& file : files) {
    const Cifar10Batch one = read_cifar10(file);
    all.labels.insert(all.labels.end(), one.labels.begin(), one.labels.end());
    all.pixels.insert(all.pixels.end(), one.pixels.begin(), one.pixels.end());
  }
  ImageSet set;
  set.labels = as_labels(all.labels);
  set.images = adopt(std::move(all.pixels), {set.labels.size(0), 3, 32, 32});
  return set;
}

}  // namespace

ImageSet ImageSet::part(int64_t first, int64_t last) const {
  if (first < 0 || last < first || last > size())
    fail<IndexError>("ImageSet::part: [{}, {}) of {} images", first, last, size());
  ImageSet p = *this;
  p.images = images.slice(0, first, last);
  p.labels = labels.slice(0, first, last);
  return p;
}

ImageData load_images(const std::string& name, const std::string& folder) {
  const bool fashion = name == "fashion-mnist", cifar = name == "cifar10";
  if (!fashion && !cifar && name != "mnist")
    fail<ValueError>("load_images: no data set '{}'; there are fashion-mnist, mnist and cifar10",
                     name);
  const char* remedy = fashion ? "Install it with: apt-get install dataset-fashion-mnist"
                       : cifar
                           ? "Get it with: curl -O "
                             "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz && tar xf "
                             "cifar-10-binary.tar.gz, and give the folder that holds the six files"
                           : "Get the four MNIST files (train-images-idx3-ubyte.gz, ...) into a "
                             "folder and give that";
  ImageData data;
  data.name = name;
  data.path = folder.empty() && fashion ? kFashionMnistPath : folder;
  if (data.path.empty())
    fail<IoError>("load_images: no folder was given for {}: load_images(\"{}\", folder). {}", name,
                  name, remedy);
  std::vector<std::string> files;  // those of the training images, then those of the test images
  if (cifar) {
    for (const char* batch : {"data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4",
                              "data_batch_5", "test_batch"})
      files.push_back(find_file(data.path, {std::string(batch) + ".bin"}, remedy));
  } else {
    for (const std::string part :
         {"train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"})
      files.push_back(find_file(data.path, {part + "-ubyte.gz", part + "-ubyte"}, remedy));
  }
  Sha256 hash;
  for (const std::string& file : files) {
    const MappedFile bytes(file);
    hash.update(bytes.bytes().data(), bytes.bytes().size());
  }
  data.sha256 = hash.hex();
  const size_t cut = cifar ? 5 : 2;
  std::exception_ptr errors[2];           // the training images' comes first, whoever was faster
  parallel_pieces(2, [&](int64_t part) {  // inflating takes its time
    try {
      const std::span all(files);
      (part ? data.test : data.train) =
          (cifar ? read_cifar : read_mnist)(part ? all.subspan(cut) : all.first(cut));
    } catch (...) { errors[part] = std::current_exception(); }
  });
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
  for (ImageSet* set : {&data.train, &data.test}) {
    if (fashion) {
      set->classes = {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
                      "Sandal",      "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};
      set->mean = {0.2860}, set->std = {0.3530};
    } else if (cifar) {
      set->classes = {"airplane", "automobile", "bird",  "cat",  "deer",
                      "dog",      "frog",       "horse", "ship", "truck"};
      set->mean = {0.4914, 0.4822, 0.4465}, set->std = {0.2470, 0.2435, 0.2616};
    } else {
      set->classes = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
      set->mean = {0.1307}, set->std = {0.3081};
    }
  }
  return data;
}

}  // namespace loupe

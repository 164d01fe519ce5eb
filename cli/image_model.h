#pragma once
// The image models of the program and their predictions.
#include <loupe/distributed/communicator.h>
#include <loupe/cli/console.h>
#include <loupe/io/augment.h>
#include <loupe/io/images.h>
#include <loupe/models/resnet_cifar.h>
#include <loupe/models/small_cnn.h>

#include <memory>
#include <string>
#include <vector>

namespace loupe::cli {

using ImageModel = std::unique_ptr<Module>;
/// "small", "wide" (a SmallCnn of 449,754 parameters on 28 x 28 pixels) or "resnet20", for the
/// images of a set. Images that are augmented need less dropout: `augmented` gives a SmallCnn less.
ImageModel make_image_model(Rng& rng, const std::string& model, const std::string& norm,
                            const ImageSet& set, bool augmented = false);
/// The model of a run of train cnn, whose options.json is given, in training mode. `image` is the
/// shape of a batch of one that it takes.
struct RunImageModel {
  ImageModel model;
  Shape image;
};
RunImageModel load_image_model(const Json& options, const std::string& folder);

/// What --augment does to the images of a data set: windows of the padded image, mirrored where
/// that is still an image of the class.
AugmentOptions augmentation(const std::string& dataset, const ImageSet& set);

struct Predictions {
  std::vector<int64_t> labels;
  double accuracy = 0, loss = 0;
  std::vector<int64_t> wrong;  // images whose label they are not
};
/// The likeliest class of every image, in the mode the model is in, without recording. With ranks
/// each takes some of the batches, every image once, and all get the bits that one process gets.
/// With `views`, the model's probabilities are averaged over the test_views() of each image.
Predictions predict(Module& model, const ImageSet& set, Communicator* ranks = nullptr,
                    const AugmentOptions* views = nullptr);

/// Images of a set side by side, framed, `columns` a row; at most `most`. u8 (height, width,
/// channels).
Tensor contact_sheet(const ImageSet& set, std::vector<int64_t> which, int64_t columns = 20,
                     int64_t most = 200);

}  // namespace loupe::cli

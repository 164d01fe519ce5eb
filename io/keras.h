#pragma once
// Weights of a Keras 3 model under the names and in the layouts of PyTorch's modules, which are
// Loupe's. In Python:
//
//   np.savez("cnn.npz", **{f"{layer.name}/{w.name}": w.numpy() for layer in model.layers for w in
//   layer.weights})
//
// and here, for a model whose members are named as the Keras layers:
//
//   load_state_dict(model, from_keras(load_npz("cnn.npz"), {{"fc1", {64, 7, 7}}}));
#include <loupe/core/named.h>

#include <map>
#include <string>

namespace loupe {

/// LAYER/VARIABLE becomes LAYER.name (further slashes become dots, too):
///
///   Dense               kernel (in, out)          -> weight (out, in)
///   Conv1D              kernel (k, in, out)       -> weight (out, in, k)
///   Conv2D              kernel (kh, kw, in, out)  -> weight (out, in, kh, kw)
///   all three           bias                      -> bias
///   Embedding           embeddings                -> weight
///   BatchNormalization  gamma, beta               -> weight, bias
///                       moving_mean, moving_variance -> running_mean, running_var
///                       and a num_batches_tracked of 0;
///                       give the layer {.convention = NormConvention::keras3}
///   LayerNormalization  gamma, beta               -> weight, bias
///   GroupNormalization  gamma, beta               -> weight, bias
///   RMSNormalization    scale                     -> weight
///
/// `flattened`: for a Dense behind a Flatten of images, its layer's name and the (C, H, W) that
/// were flattened. Keras flattens (H, W, C), Loupe (C, H, W): the rows of its kernel change places.
/// A batch of Keras images (N, H, W, C) is x.permute({0, 3, 1, 2}) here. Keras' padding="same" is
/// padding = kernel_size / 2 for odd kernels of stride 1; with a stride it pads unevenly.
///
/// ValueError for another variable, a kernel of another rank, an entry of `flattened` whose layer
/// is no Dense or whose C * H * W is not the number of its inputs, or two names that become one.
StateDict from_keras(const std::map<std::string, Tensor>& arrays,
                     const std::map<std::string, Shape>& flattened = {});

}  // namespace loupe

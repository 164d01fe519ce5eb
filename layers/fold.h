#pragma once
// BatchNorm folded into the layer before it: in eval mode it is a fixed scale and shift of each
// channel, which that layer can do itself. (LayerNorm cannot be folded: its statistics are the
// input's own.)
//   weight' = weight s, bias' = (bias - running_mean) s + beta, s = gamma / sqrt(running_var + eps),
// in f64, once.
#include <loupe/layers/conv.h>
#include <loupe/layers/linear.h>
#include <loupe/layers/norm.h>

namespace loupe {

/// One layer with the outputs of bn(conv(x)) in eval mode; both stay as they are. torch.nn.utils'
/// fuse_conv_bn_eval. ValueError in training mode, without running statistics or for a norm over
/// another axis than 1; ShapeError for
/// another number of channels.
Conv2d fuse_conv_bn_eval(const Conv2d& conv, const BatchNorm2d& bn);
/// The same of bn(linear(x)), x (N, in).
Linear fuse_linear_bn_eval(const Linear& linear, const BatchNorm1d& bn);
/// In every Sequential of the model: a Conv2d followed by a BatchNorm2d, or a Linear by a
/// BatchNorm1d, becomes one layer in place, the norm an Identity, so that names stay. Returns how
/// many were folded. For use only: the folded model does not train as the other did. Errors as
/// above, before anything is changed.
int64_t fold_batch_norm(Module& model);

}  // namespace loupe
